// Shows a notification for each web push of Wavewise, and tells the page what was shown.
self.addEventListener('push', (event) => {
  const sent = event.data ? event.data.json() : {};
  event.waitUntil((async () => {
    await self.registration.showNotification(sent.title || '', {body: sent.body || '', tag: sent.key});
    for (const page of await self.clients.matchAll({includeUncontrolled: true})) {
      page.postMessage({shown: sent});
    }
  })());
});
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow('/'));
});

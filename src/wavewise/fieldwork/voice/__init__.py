"""Voice calls: call flows as data, followed key by key, whatever carries the call."""

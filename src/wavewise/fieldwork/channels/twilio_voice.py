"""Voice calls by Twilio: the call is asked for here, its steps are told by `wavewise serve`.

References
----------
Twilio, "Calls resource" and "TwiML for Programmable Voice".
"""

from wavewise.fieldwork.channels.base import Accepted, NotSent, Outgoing, SendResult, Unknown
from wavewise.fieldwork.channels.http import Clients, call, json_of, unproven
from wavewise.fieldwork.channels.settings import ChannelSettings, Secrets
from wavewise.fieldwork.channels.twilio import BASE_URL, refusal

__all__ = ["TwilioVoice", "open_channel"]


class TwilioVoice:
    """Calls to telephone numbers that follow a study's call flows."""

    is_idempotent = False

    def __init__(self, settings: ChannelSettings, token: str) -> None:
        self.name = settings.channel
        account = settings.option("account")
        base = settings.base_url or BASE_URL
        self._url = f"{base}/2010-04-01/Accounts/{account}/Calls.json"
        self._steps = settings.option("serve_url").rstrip("/") + "/v1/calls/twilio"
        self._form = {
            "From": settings.option("from"),
            "Method": "POST",
            "StatusCallbackMethod": "POST",
            "Timeout": str(int(settings.options.get("ring_seconds", 45))),
        }
        user = settings.option("api_key_sid", account)
        self._clients = Clients(settings, auth=(user, token))

    async def send(self, outgoing: Outgoing) -> SendResult:
        """Ask for one call; that it was answered is told by its first step."""
        if not outgoing.content:
            return NotSent("the message has no call flow")
        steps = f"{self._steps}/{outgoing.key}"
        form = {
            **self._form,
            "To": outgoing.address,
            "Url": steps,
            "StatusCallback": f"{steps}/status",
        }
        answer = await call(self._clients, "POST", self._url, data=form)
        if isinstance(answer, NotSent | Unknown):
            return answer
        body = json_of(answer)
        if answer.status_code in {200, 201}:
            return Accepted(body.get("sid"))
        return refusal(body) or unproven(answer)

    async def close(self) -> None:
        """Give connections back."""
        await self._clients.aclose()


def open_channel(settings: ChannelSettings, secrets: Secrets) -> TwilioVoice:
    """The channel.

    Raises
    ------
    InputError
        A setting or the secret is missing.
    """
    settings.know_only("account", "api_key_sid", "from", "serve_url", "ring_seconds")
    return TwilioVoice(settings, secrets.need("twilio_auth_token"))

"""What the server is started with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from wavewise.fieldwork.key_ring import KeyRing
from wavewise.workflow.study import Study

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """An open study and what its interface needs besides.

    Parameters
    ----------
    study : Study
        Open for as long as the server runs.
    ring : KeyRing or None
        Keys of contact details: needed to know whose number or link comes in.
    secret : callable
        From a secret's name to its value, or None: ``twilio_auth_token``,
        ``africas_talking_callback_token``, ``webhook_secret``.
    public_url : str or None
        Address by which providers reach this server, where a proxy stands before it.
    """

    study: Study
    ring: KeyRing | None = field(default=None, repr=False)
    secret: Callable[[str], str | None] = field(default=lambda _: None, repr=False)
    public_url: str | None = None

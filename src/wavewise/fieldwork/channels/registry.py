"""Providers by name, each imported when it is first asked for: some need extra packages."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from wavewise.errors import InputError, UnavailableError
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings, Secrets

if TYPE_CHECKING:
    from wavewise.fieldwork.channels.base import Channel

__all__ = ["PROVIDERS", "open_channel"]

Opener = Callable[[ChannelSettings, Secrets], "Channel"]

# provider: (module of this folder that has `open_channel`, the extra that it needs)
PROVIDERS: dict[str, tuple[str, str | None]] = {
    "file": ("file", None),
    "webhook": ("webhook", None),
    "smtp": ("smtp", None),
    "fcm": ("fcm", None),
    "twilio": ("twilio", None),
    "africas-talking": ("africas_talking", None),
    "sip": ("sip", None),
    "twilio-voice": ("twilio_voice", None),
    "africas-talking-voice": ("africas_talking_voice", None),
    "smpp": ("smpp", "smpp"),
    "mqtt": ("mqtt", "mqtt"),
    "web-push": ("web_push", "web-push"),
    "apprise": ("any_apprise", "apprise"),
}


def open_channel(settings: ChannelSettings, secrets: Secrets) -> "Channel":
    """The channel of a table of ``channels.toml``; call it inside a running event loop.

    Raises
    ------
    InputError
        The provider is not known, or a setting or a secret is missing.
    UnavailableError
        The provider needs an extra package.
    """
    if settings.provider not in PROVIDERS:
        raise InputError(
            f"{CHANNELS_FILE}: found provider '{settings.provider}' in [{settings.channel}]; "
            f"needed one of {', '.join(sorted(PROVIDERS))}"
        )
    module, extra = PROVIDERS[settings.provider]
    try:
        found = import_module(f"wavewise.fieldwork.channels.{module}")
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        raise UnavailableError(
            f"provider '{settings.provider}' needs the package {error.name}; install it with: "
            f"pip install 'wavewise[{extra}]'"
        ) from None
    return cast("Opener", found.open_channel)(settings, secrets)

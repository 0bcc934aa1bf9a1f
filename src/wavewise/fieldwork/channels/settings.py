"""How a channel is configured: a file without secrets, and secrets from elsewhere.

``channels.toml`` in the study folder has one table a channel. It is no part of the registered
study: a provider may change while a study runs. Secrets come from the environment
(``WAVEWISE_TWILIO_AUTH_TOKEN``) or from the file that ``WAVEWISE_SECRETS_FILE`` names, and from
nowhere else.
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from wavewise.design.messages import Flow
from wavewise.errors import Fault, InputError, UnavailableError
from wavewise.shared.files import is_open_to_others

if TYPE_CHECKING:
    from wavewise.fieldwork.channels.base import Channel

__all__ = [
    "CHANNELS_FILE",
    "SECRETS_FILE",
    "ChannelSettings",
    "Secrets",
    "open_channel",
    "read_channels",
]

CHANNELS_FILE = "channels.toml"
SECRETS_FILE = "WAVEWISE_SECRETS_FILE"
_PREFIX = "WAVEWISE_"
_NUMBERS = {
    "rate_per_second": 50.0,
    "timeout_seconds": 30.0,
    "concurrency": 32,
    "backoff_seconds": 30.0,
}
_SECRET_WORDS = ("secret", "password", "token", "api_key", "private_key")


@dataclass(frozen=True)
class ChannelSettings:
    """One channel's table."""

    channel: str  # The study file's name of the channel.
    provider: str  # Which adapter carries it.
    base_url: str | None = None  # Of the provider; its public address where there is none.
    # Most messages a second, by all workers of the study together; ``inf`` for no limit.
    rate_per_second: float = _NUMBERS["rate_per_second"]
    # After which an answer that did not come leaves the message unknown.
    timeout_seconds: float = _NUMBERS["timeout_seconds"]
    concurrency: int = int(_NUMBERS["concurrency"])  # Most messages in flight at once.
    # Before the second attempt of a message that did not go out; doubled for each further one.
    backoff_seconds: float = _NUMBERS["backoff_seconds"]
    # The provider's own settings.
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    folder: Path = Path()  # The study folder: prompts lie there.
    flows: Mapping[str, Flow] = field(default_factory=lambda: MappingProxyType({}))  # Of calls.

    def option(self, name: str, default: str | None = None) -> str:
        """A text of the provider's own settings."""
        value = self.options.get(name, default)
        if isinstance(value, str) and value:
            return value
        raise InputError(
            f"{CHANNELS_FILE}: found no '{name}' in [{self.channel}]; needed it for provider "
            f"'{self.provider}'; add {name} = \"...\""
        )

    def know_only(self, *names: str) -> None:
        """Refuse settings that the provider does not know."""
        faults = [
            Fault(f"{self.channel}.{name}", "an unknown setting", f"one of {', '.join(names)}")
            for name in self.options
            if name not in names
        ]
        if faults:
            raise InputError(f"{CHANNELS_FILE}: {len(faults)} settings are not known", faults)


@dataclass(frozen=True)
class Secrets:
    """Secrets by name, never shown."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # Of the process.
    file: Mapping[str, str] = field(default_factory=dict, repr=False)  # Of the secrets file.

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Secrets":
        """From the environment, and from the file that it names."""
        path = environment.get(SECRETS_FILE)
        return cls(environment, _secrets_file(Path(path)) if path else {})

    def get(self, name: str) -> str | None:
        """A secret, or None."""
        return self.environment.get(_PREFIX + name.upper()) or self.file.get(name)

    def need(self, name: str) -> str:
        """A secret that must be there."""
        found = self.get(name)
        if found:
            return found
        raise InputError(
            f"found no secret '{name}'; needed it to send; set {_PREFIX}{name.upper()}, or put "
            f'{name} = "..." into the file that {SECRETS_FILE} names'
        )


def read_channels(
    path: Path, flows: Mapping[str, Flow] | None = None
) -> dict[str, ChannelSettings]:
    """Settings of each channel of a ``channels.toml``; none where there is no file."""
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: found no TOML ({error}); correct it") from None
    faults: list[Fault] = []
    found = {
        name: replace(_settings(name, table, faults), folder=path.parent, flows=flows or {})
        for name, table in tables.items()
    }
    if faults:
        raise InputError(f"{path.name}: {len(faults)} errors", faults)
    return found


def _settings(name: str, table: Any, faults: list[Fault]) -> ChannelSettings:
    if not isinstance(table, dict) or not isinstance(table.get("provider"), str):
        faults.append(Fault(name, "no provider", 'a table with provider = "..."'))
        return ChannelSettings(name, "")
    values = dict(table)
    for key in values:
        if any(word in key.lower() for word in _SECRET_WORDS):
            needed = "no secrets in this file"
            faults.append(Fault(f"{name}.{key}", "a secret", needed, "set it in the environment"))
    numbers: dict[str, Any] = {}
    for key in _NUMBERS:
        value = values.pop(key, None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            faults.append(Fault(f"{name}.{key}", repr(value), "a number above 0"))
        elif math.isinf(value) and key != "rate_per_second":
            faults.append(Fault(f"{name}.{key}", repr(value), "a finite number"))
        else:
            numbers[key] = max(1, int(value)) if key == "concurrency" else float(value)
    base_url = values.pop("base_url", None)
    if base_url is not None and not str(base_url).startswith(("http://", "https://", "smtp")):
        faults.append(Fault(f"{name}.base_url", repr(base_url), "a URL"))
    return ChannelSettings(
        channel=name,
        provider=values.pop("provider"),
        base_url=None if base_url is None else str(base_url).rstrip("/"),
        options=MappingProxyType(values),
        **numbers,
    )


def _secrets_file(path: Path) -> dict[str, str]:
    try:
        is_open = is_open_to_others(path)
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{SECRETS_FILE}: found a file that cannot be read as TOML "
            f'({type(error).__name__}); needed lines such as smtp_password = "..."'
        ) from None
    if is_open:
        raise InputError(
            f"{SECRETS_FILE}: found a file that others may read; needed one for its owner alone; "
            "run chmod 600 on it"
        )
    return {name: value for name, value in values.items() if isinstance(value, str)}


# Providers by name, each imported when it is first asked for: some need extra packages.

Opener = Callable[[ChannelSettings, Secrets], "Channel"]
# provider: (module of this folder, its function that opens the channel, the extra that it needs)
PROVIDERS: dict[str, tuple[str, str, str | None]] = {
    "file": ("file", "open_channel", None),
    "webhook": ("webhook", "open_channel", None),
    "smtp": ("smtp", "open_channel", None),
    "fcm": ("fcm", "open_channel", None),
    "twilio": ("twilio", "open_channel", None),
    "africas-talking": ("africas_talking", "open_channel", None),
    "sip": ("sip", "open_channel", None),
    "twilio-voice": ("twilio", "open_voice_channel", None),
    "africas-talking-voice": ("africas_talking", "open_voice_channel", None),
    "smpp": ("smpp", "open_channel", "smpp"),
    "mqtt": ("mqtt", "open_channel", "mqtt"),
    "web-push": ("web_push", "open_channel", "web-push"),
    "apprise": ("apprise", "open_channel", "apprise"),
}


def open_channel(settings: ChannelSettings, secrets: Secrets) -> "Channel":
    """The channel of a table of ``channels.toml``; call it inside a running event loop."""
    if settings.provider not in PROVIDERS:
        raise InputError(
            f"{CHANNELS_FILE}: found provider '{settings.provider}' in [{settings.channel}]; "
            f"needed one of {', '.join(sorted(PROVIDERS))}"
        )
    module, opener, extra = PROVIDERS[settings.provider]
    try:
        found = import_module(f"wavewise.fieldwork.channels.{module}")
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        raise UnavailableError(
            f"provider '{settings.provider}' needs the package {error.name}; install it with: "
            f"pip install 'wavewise[{extra}]'"
        ) from None
    return cast("Opener", getattr(found, opener))(settings, secrets)

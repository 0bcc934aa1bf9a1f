"""Unsubscribe links for outgoing messages: one a unit, made while it is sent and nowhere kept."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from wavewise.errors import InputError
from wavewise.fieldwork.channels.settings import CHANNELS_FILE, ChannelSettings
from wavewise.workflow.keys import KEY_FILE, find_key_ring

__all__ = ["UNSUBSCRIBE_BASE", "UNSUBSCRIBE_URL", "LinkOf", "unsubscribe_links"]

UNSUBSCRIBE_BASE = "unsubscribe_base"  # in channels.toml: where people reach `wavewise serve`
UNSUBSCRIBE_URL = "unsubscribe_url"  # the field that a channel finds the unit's link in

LinkOf: TypeAlias = Callable[[str], str]


def unsubscribe_links(
    settings: Mapping[str, ChannelSettings], key_file: Path | None
) -> dict[str, LinkOf]:
    """Channel: what gives the link of a unit; only channels that say where links lead.

    Raises
    ------
    InputError
        The base is no URL, or there is no key to sign links with.
    """
    bases = {
        name: one.option(UNSUBSCRIBE_BASE).rstrip("/")
        for name, one in settings.items()
        if UNSUBSCRIBE_BASE in one.options
    }
    if not bases:
        return {}
    for name, base in bases.items():
        if not base.startswith(("https://", "http://")):
            raise InputError(
                f"{CHANNELS_FILE}: found a {UNSUBSCRIBE_BASE} in [{name}] that is no URL; needed "
                "the public address of `wavewise serve`, such as https://study.example.org"
            )
    ring = find_key_ring(key_file)
    if ring is None:
        raise InputError(
            f"found no key file; needed one to sign unsubscribe links; give --key-file FILE or set "
            f"{KEY_FILE}, or take {UNSUBSCRIBE_BASE} out of {CHANNELS_FILE}"
        )

    def links_at(base: str) -> LinkOf:
        return lambda unit_id: f"{base}/u/{ring.unsubscribe_token(unit_id)}"

    return {name: links_at(base) for name, base in bases.items()}

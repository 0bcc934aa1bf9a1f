"""Where addresses come from, as a protocol: the worker asks for a batch, and keeps none."""

from collections.abc import Mapping, Sequence
from typing import Protocol

__all__ = ["AddressBook", "ListedAddresses"]


class AddressBook(Protocol):
    """Addresses of units, opened only to send."""

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> Mapping[str, str]:
        """Address of each unit on a channel; a unit without one is left out."""
        ...


class ListedAddresses:
    """Addresses held in memory: for dry runs and tests.

    Parameters
    ----------
    listed : mapping of str to mapping of str to str
        Channel: unit: address.

    Examples
    --------
    >>> ListedAddresses({"sms": {"a": "+15550100"}}).addresses("sms", ["a", "b"])
    {'a': '+15550100'}
    """

    def __init__(self, listed: Mapping[str, Mapping[str, str]]) -> None:
        self._listed = listed

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        """Address of each unit on a channel; a unit without one is left out."""
        known = self._listed.get(channel, {})
        return {unit: known[unit] for unit in unit_ids if unit in known}

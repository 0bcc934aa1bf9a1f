"""How messages of a study go out, and when that has changed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from wavewise.errors import InputError, WavewiseError
from wavewise.fieldwork.channels.settings import (
    CHANNELS_FILE,
    SECRETS_FILE,
    ChannelSettings,
    Secrets,
    read_channels,
)
from wavewise.fieldwork.contact_details import AddressBook, KeyRing
from wavewise.shared.log import log
from wavewise.workflow.contacts.contacts import contact_book
from wavewise.workflow.contacts.keys import KEY_FILE, find_key_ring
from wavewise.workflow.contacts.opt_outs import LinkOf, unsubscribe_links
from wavewise.workflow.send.queue import messages_of, open_senders
from wavewise.workflow.study import Study

__all__ = ["FollowedPlan", "SendPlan", "find_send_plan", "is_addressed", "stamp"]

_NEEDS_ADDRESS = ("push", "sms", "email", "voice", "mqtt", "web-push")


@dataclass(frozen=True)
class SendPlan:
    """How messages of a study go out."""

    settings: Mapping[str, ChannelSettings]  # Channel of the study file: its table.
    secrets: Secrets  # Of the environment.
    book: AddressBook | None  # Where addresses come from.
    # Channel: what gives a unit's unsubscribe link.
    links: Mapping[str, LinkOf] = field(default_factory=dict)
    # Tells whose number calls, and encrypts numbers that people change to.
    ring: KeyRing | None = None


def is_addressed(study: Study, channel: str) -> bool:
    """Whether the study keeps addresses of a channel."""
    return channel in study.spec.units.address


def find_send_plan(
    study: Study,
    key_file: Path | None,
    book: AddressBook | None = None,
    *,
    every_table: bool = False,
) -> SendPlan:
    """Channels of what is open, and with ``every_table`` all that have a table."""
    in_file = read_channels(study.folder / CHANNELS_FILE, study.spec.flows)
    waves = [wave for wave in open_senders(study) if wave.schedule]
    messages = [message for wave in waves for message in messages_of(study, wave)]
    used = {str(message.channel) for message in messages} - {"letter"}
    used |= set(study.store.deliveries.counts()["channel"])
    used |= set(in_file) if every_table else set()
    absent = sorted(used - set(in_file))
    if absent:
        raise InputError(
            f"found no settings of {', '.join(absent)} in {study.folder / CHANNELS_FILE}; needed a "
            f'table [{absent[0]}] with provider = "..."; nothing was sent'
        )
    lacking = sorted(
        name
        for name in used
        if name in _NEEDS_ADDRESS
        and not is_addressed(study, name)
        and in_file[name].provider != "file"
    )
    if lacking:
        raise InputError(
            f"found no column of addresses for {', '.join(lacking)}; needed "
            f'{lacking[0]} = "COLUMN" in units.address of the study file; nothing was sent'
        )
    settings = {name: _placed(study, in_file[name]) for name in sorted(used)}
    needs_book = any(is_addressed(study, name) for name in used)
    if book is None and needs_book:
        book = contact_book(study, key_file)
    links = unsubscribe_links(settings, key_file, study.spec.study.id)
    ring = find_key_ring(key_file) if needs_book else None
    return SendPlan(settings, Secrets.read(os.environ), book, links, ring)


def _placed(study: Study, settings: ChannelSettings) -> ChannelSettings:
    """Paths of files are in the study folder."""
    path = settings.options.get("path")
    if settings.provider != "file":
        return settings
    place = study.folder / (path or f"outbox/{settings.channel}.ndjson")
    return replace(settings, options={**settings.options, "path": str(place)})


class FollowedPlan:
    """The registered plan and the ways out of a study, for as long as a worker runs.

    What a person changes meanwhile, the worker takes up: an amendment, channels, secrets, keys. A
    change that cannot be read is told, and what was read before stays.
    """

    def __init__(
        self,
        study: Study,
        key_file: Path | None,
        *,
        book: AddressBook | None = None,
        every_table: bool = False,
    ) -> None:
        self._file, self._key_file, self._book = study, key_file, book
        self._every_table = every_table
        names = [key_file or os.environ.get(KEY_FILE), os.environ.get(SECRETS_FILE)]
        self._paths = [study.folder / CHANNELS_FILE, *(Path(name) for name in names if name)]
        self._seen = self._look()
        self.study, self.plan = self._read()

    def has_changed(self) -> bool:
        """Whether something else stands there now, which :attr:`study` and :attr:`plan` hold then.

        Asks files and the database.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.study, self.plan = self._read()
        except WavewiseError as error:
            log("change not taken up", reason=str(error))
            return False
        log("change taken up")
        return True

    def _read(self) -> tuple[Study, SendPlan]:
        study = self._file.as_registered()
        every = self._every_table
        return study, find_send_plan(study, self._key_file, self._book, every_table=every)

    def _look(self) -> tuple[object, ...]:
        version = self._file.version
        number = 0 if version is None else version.number
        store = self._file.store
        waves = (
            *((row.wave_id, row.state) for row in store.waves.all()),
            *((row.enrolment_id, row.state) for row in store.enrolments.all()),
        )
        return (number, waves, *(stamp(path) for path in self._paths))


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What differs once a file was written; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

"""Contact details: encrypted when they come in, decrypted only to send, found by a blind index."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.contact_details import (
    KeyRing,
    address_kind,
    is_international,
    normal_address,
    normal_addresses,
)
from wavewise.fieldwork.files.cells import Cells, ColumnRead
from wavewise.fieldwork.files.faults import FaultLog
from wavewise.shared.files import replace_private
from wavewise.shared.text_tables import text_table
from wavewise.store.rows import from_us, to_us
from wavewise.workflow.contacts.keys import KEY_FILE, key_ring
from wavewise.workflow.files import FileRead, Table, file_read, read_data, reading_of
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.store import Store

__all__ = [
    "ContactBook",
    "contact_book",
    "encrypted_contacts",
    "import_contacts",
    "list_changes",
    "restore_contact",
    "rotate_keys",
]

_ENCRYPTED = dict.fromkeys(("unit_id", "channel", "key_id", "encrypted", "lookup"), pl.String)


@dataclass(frozen=True, eq=False)
class ContactImport(VerbResult):
    """Contact details that took the place of earlier ones."""

    source: str  # The file's name, or that it was a frame.
    units: str  # What the study calls them.
    n_kept: int
    n_rows: int
    n_local_numbers: int  # Phone numbers without their country's code.

    def facts(self) -> dict[str, Any]:
        """Numbers of details and of rows."""
        return {"n_kept": self.n_kept, "n_rows": self.n_rows}

    def summary(self) -> str:
        """How many details were stored, and which a provider may reject."""
        return (
            f"{self.source}: {self.n_kept:,} contact details of {self.n_rows:,} {self.units} kept, "
            f"encrypted.{local_note(self.n_local_numbers)}"
        )


@dataclass(frozen=True, eq=False)
class KeyRotation(VerbResult):
    """A new key that took the place of the old one."""

    n_rows: int  # Contact details that it encrypts.
    key: str  # Its id.
    key_file: str

    def facts(self) -> dict[str, Any]:
        """Number of details and the key's id."""
        return {"n_encrypted": self.n_rows, "key": self.key}

    def summary(self) -> str:
        """What the new key holds, and where its file has to be copied."""
        return (
            f"{self.n_rows:,} contact details are encrypted with the new key {self.key}; "
            f"{self.key_file} holds no other. Where {KEY_FILE} is set elsewhere, or another study "
            "shares the file, copy it there now."
        )


@dataclass(frozen=True, eq=False)
class ContactChanges(VerbResult):
    """Who changed a contact detail in a call, and when."""

    changes: tuple[Mapping[str, str], ...]  # unit, channel, source, at

    def summary(self) -> str:
        """A table of them."""
        if not self.changes:
            return "No contact detail was changed in a call."
        names = list(self.changes[0])
        return text_table(names, [list(row.values()) for row in self.changes])

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame(list(self.changes), schema=["unit", "channel", "source", "at"])


@dataclass(frozen=True, eq=False)
class ContactRestored(VerbResult):
    """A contact detail as it was before its last change."""

    channel: str
    undone_change: str  # When it was changed.

    def summary(self) -> str:
        """Which one it is."""
        return (
            f"The {self.channel} contact detail is again what it was before the change of "
            f"{self.undone_change}."
        )


@dataclass(frozen=True)
class ContactBook:
    """Addresses of units, read with the key."""

    store: "Store"  # The study's database.
    ring: KeyRing  # The keys.
    country: str | None = None  # Of numbers that are written without one.

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        """Address of each unit on a channel; a unit without one is left out."""
        rows = self.store.contacts.find(channel, unit_ids)
        return {
            unit: self._to_send(channel, self.ring.open(unit, channel, key_id, encrypted))
            for unit, key_id, encrypted in rows.select("unit_id", "key_id", "encrypted").iter_rows()
        }

    def _to_send(self, channel: str, address: str) -> str:
        """Numbers that were kept before the study had a country, in the form of today."""
        return self.in_form(channel, address) if address_kind(channel) == "phone" else address

    def in_form(self, channel: str, address: str) -> str:
        """An address in the form in which it is kept."""
        return normal_address(channel, address, self.country)

    def units_at(self, channel: str, address: str) -> tuple[str, ...]:
        """Units with this address on this channel, or on another that shares it (SMS, voice)."""
        # The second form is that of details which were kept before the study had a country.
        forms = (self.in_form(channel, address), normal_address(channel, address))
        indexes = [
            index for form in dict.fromkeys(forms) for index in self.ring.lookups(channel, form)
        ]
        found = self.store.contacts.at(tuple(indexes))
        return tuple(found["unit_id"].unique().sort())


def contact_book(study: Study, key_file: Path | None = None) -> ContactBook:
    """The contact book of a study."""
    return ContactBook(study.store, key_ring(key_file), study.spec.study.country)


def encrypted_contacts(
    ids: pl.Series, addresses: Mapping[str, pl.Series], ring: KeyRing
) -> pl.DataFrame:
    """Contact details as the store takes them; empty cells are left out."""
    rows = []
    for channel, column in addresses.items():
        for unit, address in zip(ids, column, strict=True):
            if unit is not None and address is not None and address.strip():
                kept = ring.encrypt(unit, channel, address)
                rows.append((unit, channel, kept.key_id, kept.encrypted, kept.lookup))
    return pl.DataFrame(rows, schema=_ENCRYPTED, orient="row")


@dataclass(frozen=True)
class CheckedContacts:
    """The contact details of a file, and what is wrong or strange with them."""

    addresses: Mapping[str, pl.Series]  # Channel: addresses in their form; null where none.
    log: FaultLog
    reads: tuple[ColumnRead, ...]
    notes: tuple[str, ...]


def checked_contacts(study: Study, table: Table, *, skip_bad: bool = False) -> CheckedContacts:
    """The contact details of a table, in the form in which they are kept."""
    log, country = FaultLog(), study.spec.study.country
    cells = Cells(table.frame, log, table.first_row, reading=table.reading)
    made: dict[str, pl.Series] = {}
    notes: list[str] = []
    for channel, name in study.spec.units.address.items():
        if name not in table.frame.columns:
            continue
        raw = table.frame[name]
        whole = raw.cast(pl.Int64, strict=False) if raw.dtype.is_float() else raw
        read = normal_addresses(channel, whole, country)
        bad = read["fault"] != ""
        if skip_bad:
            made[channel] = read["address"].set(bad, None)
            notes += [f"{int(bad.sum()):,} addresses of {channel} left out"] if bad.any() else []
        else:
            made[channel] = read["address"]
            fix = "correct it, empty it, or pass --skip-bad-contacts to leave such ones out"
            found = read["fault"].filter(bad).to_list()
            log.add_rows(cells.rows(bad), name, found, "an address, or nothing", fix=fix)
        cells.note_read(name, "contact", made[channel])
        notes += _shared(made[channel], name, study.spec.units.name, cells)
    return CheckedContacts(made, log, tuple(cells.reads), tuple(notes))


def _shared(addresses: pl.Series, name: str, units: str, cells: Cells) -> list[str]:
    """A sentence on addresses that several units have."""
    is_shared = addresses.is_duplicated() & addresses.is_not_null()
    if not is_shared.any():
        return []
    rows = cells.rows(is_shared)
    shown = ", ".join(map(str, rows[:10].tolist())) + (", ..." if len(rows) > 10 else "")
    return [
        f"{addresses.filter(is_shared).n_unique():,} addresses in column {name!r} belong to "
        f"{len(rows):,} {units} (rows {shown}): they may fall into different arms, and one phone "
        "then gets all of their messages; give those who share one the same value of a column, "
        "and name it as randomize_by"
    ]


def without_erased(study: Study, encrypted: pl.DataFrame) -> pl.DataFrame:
    """Contact details without those of units that asked to be erased."""
    erased = study.store.units.erased()
    return encrypted.filter(~pl.col("unit_id").is_in(sorted(erased))) if erased else encrypted


def design_columns(study: Study) -> dict[str, None]:
    """Strata, covariates, eligibility, groups and facts: what a comparison needs of a unit."""
    spec = study.spec
    groups = filter(None, [spec.units.error_cluster, spec.units.randomize_by])
    return dict.fromkeys([*spec.design_columns, *groups, *spec.made_columns])


def emptied_fields(fields_json: str, kept: Collection[str]) -> str:
    """A unit's fields, of which these columns are left."""
    fields: dict[str, Any] = json.loads(fields_json)
    left = {name: value if name in kept else None for name, value in fields.items()}
    return json.dumps(left, ensure_ascii=False)


def without_erased_fields(study: Study, units: pl.DataFrame) -> pl.DataFrame:
    """Units of a file, of which those that were erased bring nothing that identifies them."""
    erased, kept = study.store.units.erased(), design_columns(study)
    if not erased:
        return units
    fields = [
        emptied_fields(text, kept) if unit in erased else text
        for unit, text in units.select("unit_id", "fields_json").iter_rows()
    ]
    return units.with_columns(pl.Series("fields_json", fields, dtype=pl.String))


def local_numbers(addresses: Mapping[str, pl.Series]) -> int:
    """Number of phone numbers that are not written with their country's code."""
    phones: Iterable[pl.Series] = (
        column for channel, column in addresses.items() if address_kind(channel) == "phone"
    )
    return sum(not is_international(number) for column in phones for number in column.drop_nulls())


def import_contacts(
    study: Study,
    data: Any,
    *,
    key_file: Path | None = None,
    skip_bad_contacts: bool = False,
    dry_run: bool = False,
    encoding: str | None = None,
    reading: Mapping[str, Any] | None = None,
) -> ContactImport | FileRead:
    """New contact details of units that are known: changed numbers, new tokens."""
    ring, units = key_ring(key_file), study.spec.units
    how = reading_of(study, "contacts", encoding, reading)
    table = read_data(data, how, columns_needed=(units.id,))
    columns = {ch: name for ch, name in units.address.items() if name in table.frame.columns}
    if not columns:
        raise InputError(
            f"{table.name}: found none of the columns of [units].address; needed one of "
            f"{', '.join(units.address.values()) or 'them: the study file names none'}"
        )
    contacts = checked_contacts(study, table, skip_bad=skip_bad_contacts)
    log, addresses = contacts.log, contacts.addresses
    cells = Cells(table.frame, log, table.first_row, reading=table.reading)
    ids = cells.id(units.id)
    repeated = ids.is_duplicated() & ids.is_not_null()
    log.add_rows(cells.rows(repeated), units.id, "an id that comes twice", "each id once")
    unknown = ~ids.is_in(study.store.units.all()["unit_id"].implode()) & ids.is_not_null()
    log.add_rows(cells.rows(unknown), units.id, "a unit that is not known", "an imported unit")
    if dry_run:
        reads = (*cells.reads, *contacts.reads)
        return file_read(table, reads, log.faults, log.n, *contacts.notes)
    log.raise_if_any(f"{table.name}: nothing was changed")
    encrypted = without_erased(study, encrypted_contacts(ids, addresses, ring))
    study.store.contacts.put(encrypted, study.clock(), channels=list(addresses), of=ids)
    n_local = local_numbers(addresses)
    return ContactImport(table.name, units.name, encrypted.height, len(ids), n_local)


def local_note(n_local: int) -> str:
    """A sentence on phone numbers that a provider may not take; nothing where all are sound."""
    if not n_local:
        return ""
    return (
        f"\n{n_local:,} phone numbers lack their country's code (+254...): most providers reject "
        "them, and an answer from one is not recognized."
    )


def rotate_keys(study: Study, key_file: Path) -> KeyRotation:
    """A new active key, and every contact detail encrypted with it.

    The file holds both keys until the database holds only the new one, so that a crash on the way
    loses nothing: run it again.
    """
    old = key_ring(key_file)
    new = old.rotated()
    replace_private(key_file, new.text())
    n_rows = study.store.contacts.reencrypt(lambda rows: _reencrypted(rows, new))
    replace_private(key_file, new.only_active().text())
    return KeyRotation(n_rows, new.active, str(key_file))


def _reencrypted(rows: pl.DataFrame, ring: KeyRing) -> pl.DataFrame:
    made = []
    for unit, channel, key_id, encrypted in rows.select(
        "unit_id", "channel", "key_id", "encrypted"
    ).iter_rows():
        kept = ring.encrypt(unit, channel, ring.open(unit, channel, key_id, encrypted))
        made.append((unit, channel, kept.key_id, kept.encrypted, kept.lookup))
    return pl.DataFrame(made, schema=_ENCRYPTED, orient="row")


# Contact details that people changed in calls: listed, and restored where one was mistyped.

RESTORED = "restored by hand"


def list_changes(study: Study) -> ContactChanges:
    """Changes of contact details, without the details."""
    rows = study.store.contacts.changes().select("unit_id", "channel", "source", "at_utc_us")
    return ContactChanges(
        tuple(
            {"unit": unit, "channel": channel, "source": source, "at": _minute(at)}
            for unit, channel, source, at in rows.iter_rows()
        )
    )


def _minute(at_us: int) -> str:
    return f"{from_us(at_us):%Y-%m-%d %H:%M}"


def restore_contact(
    study: Study, unit_id: str, *, key_file: Path | None = None, ring: KeyRing | None = None
) -> ContactRestored:
    """Put back what was there before a unit's last change; this is kept as a change, too."""
    changes = study.store.contacts.changes(unit_id).filter(pl.col("former_encrypted").is_not_null())
    if changes.is_empty():
        raise InputError(
            "found no change of this unit's contact details; needed one that `wavewise contacts "
            "changes DIR` lists; nothing was changed"
        )
    keys = ring or key_ring(key_file)
    last = changes.row(-1, named=True)
    channel = last["channel"]
    detail = keys.open(unit_id, channel, last["former_key_id"], last["former_encrypted"])
    encrypted = encrypted_contacts(pl.Series([unit_id]), {channel: pl.Series([detail])}, keys)
    now = study.clock()
    study.store.contacts.change(encrypted, f"restored:{unit_id}:{to_us(now)}", RESTORED, now)
    return ContactRestored(channel, f"{_minute(last['at_utc_us'])} UTC")

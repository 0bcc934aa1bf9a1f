"""Contact details: sealed at the door, opened only to send, found again by their blind index."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from wavewise.errors import InputError
from wavewise.fieldwork.addresses import address_kind, is_international
from wavewise.fieldwork.cells import Cells
from wavewise.fieldwork.faults import FaultLog
from wavewise.fieldwork.files import first_row, read_table
from wavewise.fieldwork.key_ring import KeyRing
from wavewise.workflow.done import Done
from wavewise.workflow.keys import KEY_FILE, key_ring, replace_file
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.store import Store

__all__ = ["ContactBook", "contact_book", "import_contacts", "rotate_keys", "sealed_contacts"]

_SEALED = dict.fromkeys(("unit_id", "channel", "key_id", "sealed", "lookup"), pl.String)


@dataclass(frozen=True)
class ContactBook:
    """Addresses of units, read with the key.

    Parameters
    ----------
    store : Store
        The study's database.
    ring : KeyRing
        The keys.
    """

    store: "Store"
    ring: KeyRing

    def addresses(self, channel: str, unit_ids: Sequence[str]) -> dict[str, str]:
        """Address of each unit on a channel; a unit without one is left out.

        Raises
        ------
        InputError
            An address does not open with this key.
        """
        rows = self.store.contacts(channel, unit_ids)
        return {
            unit: self.ring.open(unit, channel, key_id, sealed)
            for unit, key_id, sealed in rows.select("unit_id", "key_id", "sealed").iter_rows()
        }

    def units_at(self, channel: str, address: str) -> tuple[str, ...]:
        """Units with this address on this channel, or on another that shares it (SMS, voice)."""
        found = self.store.contacts_at(self.ring.lookups(channel, address))
        return tuple(found["unit_id"].unique().sort())


def contact_book(study: Study, key_file: Path | None = None) -> ContactBook:
    """The contact book of a study.

    Raises
    ------
    InputError
        There is no key.
    """
    return ContactBook(study.store, key_ring(key_file))


def sealed_contacts(
    ids: pl.Series, addresses: Mapping[str, pl.Series], ring: KeyRing
) -> pl.DataFrame:
    """Contact details as the store takes them; empty cells are left out.

    Parameters
    ----------
    ids : polars.Series, shape (n_units,)
        Units.
    addresses : mapping of str to polars.Series, shape (n_units,)
        Channel: address of each unit, null where there is none.
    ring : KeyRing
        The keys.
    """
    rows = []
    for channel, column in addresses.items():
        for unit, address in zip(ids, column, strict=True):
            if unit is not None and address is not None and address.strip():
                kept = ring.seal(unit, channel, address.strip())
                rows.append((unit, channel, kept.key_id, kept.sealed, kept.lookup))
    return pl.DataFrame(rows, schema=_SEALED, orient="row")


def without_erased(study: Study, sealed: pl.DataFrame) -> pl.DataFrame:
    """Contact details without those of units that asked to be erased."""
    erased = study.store.erased_units()
    return sealed.filter(~pl.col("unit_id").is_in(sorted(erased))) if erased else sealed


def local_numbers(addresses: Mapping[str, pl.Series]) -> int:
    """Number of phone numbers that are not written with their country's code."""
    phones: Iterable[pl.Series] = (
        column for channel, column in addresses.items() if address_kind(channel) == "phone"
    )
    return sum(not is_international(number) for column in phones for number in column.drop_nulls())


def import_contacts(
    study: Study, path: Path, *, key_file: Path | None = None, encoding: str = "utf-8"
) -> Done:
    """New contact details of units that are known: changed numbers, new tokens.

    Parameters
    ----------
    study : Study
        An open study.
    path : Path
        CSV, NDJSON or Parquet with the unit's id and columns of [units].address; an empty cell
        takes the detail out.
    key_file : Path, optional
        The key file; by default that of the environment.
    encoding : str
        Of a text file.

    Raises
    ------
    InputError
        With every bad row; nothing was changed.
    """
    ring, units = key_ring(key_file), study.spec.units
    table = read_table(path, encoding=encoding, columns_needed=(units.id,))
    columns = {ch: name for ch, name in units.address.items() if name in table.columns}
    if not columns:
        raise InputError(
            f"{path.name}: found none of the columns of [units].address; needed one of "
            f"{', '.join(units.address.values()) or 'them: the study file names none'}"
        )
    log = FaultLog()
    cells = Cells(table, log, first_row(path))
    ids = cells.id(units.id)
    repeated = ids.is_duplicated() & ids.is_not_null()
    log.add_rows(cells.rows(repeated), units.id, "an id that comes twice", "each id once")
    unknown = ~ids.is_in(study.store.units()["unit_id"].implode()) & ids.is_not_null()
    log.add_rows(cells.rows(unknown), units.id, "a unit that is not known", "an imported unit")
    addresses: dict[str, pl.Series] = {
        channel: cells.text(name) for channel, name in columns.items()
    }
    log.raise_if_any(f"{path.name}: nothing was changed")
    sealed = without_erased(study, sealed_contacts(ids, addresses, ring))
    study.store.put_contacts(sealed, study.clock(), channels=list(addresses), of=ids)
    text = (
        f"{path.name}: {sealed.height:,} contact details of {len(ids):,} {units.name} kept, sealed."
    )
    return Done(text + local_note(addresses), {"n_kept": sealed.height, "n_rows": len(ids)})


def local_note(addresses: Mapping[str, pl.Series]) -> str:
    """A sentence on phone numbers that a provider may not take; nothing where all are sound."""
    n_local = local_numbers(addresses)
    if not n_local:
        return ""
    return (
        f"\n{n_local:,} phone numbers lack their country's code (+254...): most providers refuse "
        "them, and an answer from one is not recognized."
    )


def rotate_keys(study: Study, key_file: Path) -> Done:
    """A new key in force, and every contact detail sealed with it.

    The file holds both keys until the database holds only the new one, so that a crash on the way
    loses nothing: run it again.

    Raises
    ------
    InputError
        The key file cannot be used, or a detail does not open.
    """
    old = key_ring(key_file)
    new = old.rotated()
    replace_file(key_file, new.text())
    n_rows = study.store.reseal_contacts(lambda rows: _resealed(rows, new))
    replace_file(key_file, new.only_active().text())
    text = (
        f"{n_rows:,} contact details are sealed with the new key {new.active}; {key_file} holds it "
        f"alone. Where {KEY_FILE} is set elsewhere, or the file is shared by another study, copy "
        "it there now."
    )
    return Done(text, {"n_sealed": n_rows, "key": new.active})


def _resealed(rows: pl.DataFrame, ring: KeyRing) -> pl.DataFrame:
    made = []
    for unit, channel, key_id, sealed in rows.select(
        "unit_id", "channel", "key_id", "sealed"
    ).iter_rows():
        kept = ring.seal(unit, channel, ring.open(unit, channel, key_id, sealed))
        made.append((unit, channel, kept.key_id, kept.sealed, kept.lookup))
    return pl.DataFrame(made, schema=_SEALED, orient="row")

"""The audit log as it is shown and exported: who did what, when, from which version, and why."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavewise.errors import InputError
from wavewise.shared.text_tables import text_table
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    import polars as pl

__all__ = ["COMMAND_LINE", "AuditTrail", "audit", "without_personal_data"]

COMMAND_LINE = "command line"
COLUMNS = ("number", "at", "who", "verb", "outcome", "arguments", "version", "reason", "hash")
# Arguments that name no person. Whatever is not here does not go into the log, which nobody can
# take anything out of again.
_PLAIN = frozenset(
    [
        *("wave", "enrolment", "exploratory", "accept_late", "accept_incomplete", "accept"),
        *("reword", "channel", "gone_out", "key_id", "account", "role", "export", "day", "kind"),
        *("dry_run", "simulations", "randomization_draws", "request", "job", "step", "until_done"),
    ]
)
_LONGEST_REASON = 2_000


@dataclass(frozen=True, eq=False)
class AuditTrail(VerbResult):
    """Every entry of the audit log, and whether the log is whole."""

    entries: tuple[Mapping[str, Any], ...]
    first_fault: int | None  # Number of the first entry that was changed or is gone.

    @property
    def is_whole(self) -> bool:
        """Whether every entry is what was written, with none gone between two."""
        return self.first_fault is None

    def summary(self) -> str:
        """A table of the entries, and whether they are whole."""
        if not self.entries:
            return "Nothing yet."
        names = [name for name in COLUMNS if name != "hash"]
        rows = [[_cell(entry[name]) for name in names] for entry in self.entries]
        whole = (
            f"The log is whole; its last hash is {self.entries[-1]['hash']}."
            if self.is_whole
            else f"The log was changed: entry {self.first_fault} is not what was written, or gone."
        )
        return f"{text_table(names, rows)}\n{whole}"

    def _frame(self) -> "pl.DataFrame":
        import polars as pl

        rows = [{**entry, "arguments": _cell(entry["arguments"])} for entry in self.entries]
        types = dict.fromkeys(COLUMNS, pl.String)
        return pl.DataFrame(rows, schema={**types, "number": pl.Int64, "version": pl.Int64})


def audit(study: Study, out: Path | None = None) -> AuditTrail:
    """The whole log; with a file, written there too: CSV, or JSON by its ending."""
    names = {row.account_id: row.name for row in study.store.accounts.all()}
    trail = AuditTrail(
        tuple(
            {
                "number": entry.entry_id,
                "at": entry.at.isoformat(),
                "who": names.get(entry.actor, entry.actor),
                "verb": entry.verb,
                "outcome": entry.outcome,
                "arguments": dict(entry.arguments),
                "version": entry.version,
                "reason": entry.reason,
                "hash": entry.hash,
            }
            for entry in study.store.audit.all()
        ),
        study.store.audit.first_fault(),
    )
    if out is not None:
        _write(trail, out)
    return trail


def without_personal_data(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What the log may hold of a verb's arguments, and the reason that was given."""
    plain = {
        name: list(value) if isinstance(value, tuple | list) else value
        for name, value in arguments.items()
        if name in _PLAIN and _is_plain(value)
    }
    return plain, str(arguments.get("reason") or "")[:_LONGEST_REASON]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(one, str | int) for one in value)
    return isinstance(value, str | int | float | bool)


def _write(trail: AuditTrail, out: Path) -> None:
    if out.exists():
        raise InputError(f"found something at {out}; needed a new path; nothing was written")
    if out.suffix.lower() == ".json":
        text = json.dumps(trail.facts(), ensure_ascii=False, indent=1) + "\n"
    else:
        held = io.StringIO()
        rows = csv.writer(held, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows([[_safe(_cell(entry[name])) for name in COLUMNS] for entry in trail.entries])
        text = held.getvalue()
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{out}: it cannot be written ({error.strerror}); needed a folder that exists and may "
            "be written to; give another path"
        ) from None


def _safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_cell(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)

"""``register``, ``amend`` and ``history``: the spec as it was frozen, and every change since."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from wavewise.design.versions import (
    Change,
    VersionRecord,
    canonical_dict,
    canonical_json,
    changes,
    spec_hash,
    spec_of,
    with_defaults,
)
from wavewise.errors import InputError, RegistrationError
from wavewise.workflow.result import VerbResult
from wavewise.workflow.run.enrol import participants
from wavewise.workflow.send.wording import REWORDED, queued_in_old_words
from wavewise.workflow.study import Study

__all__ = ["FrozenPlan", "PlanHistory", "amend", "register", "show_history", "version_records"]


@dataclass(frozen=True, eq=False)
class FrozenPlan(VerbResult):
    """A version of the plan as it was frozen."""

    version: int
    hash: str  # SHA-256 of its canonical form.
    waves_seen: tuple[str, ...]  # Closed before it: it is an addendum then.
    frozen_at: datetime
    # Since the version before: name, field, before, after; None for the first.
    changes: tuple[Mapping[str, Any], ...] | None = None
    texts: tuple[str, ...] = ()  # The changes in words.
    # Message: number of queued ones that this version words otherwise, or does not send.
    queued_before: Mapping[str, int] = field(default_factory=dict)
    n_reworded: int = 0  # Of them, taken back and queued anew.
    folder: str = ""

    def facts(self) -> dict[str, Any]:
        """Version, hash, waves whose data were seen; of an amendment the number of changes."""
        facts = {"version": self.version, "hash": self.hash, "waves_seen": list(self.waves_seen)}
        if self.changes is None:
            return facts
        queued = {"queued_in_old_words": dict(self.queued_before), "n_reworded": self.n_reworded}
        return {**facts, "n_changes": len(self.changes), **queued}

    def summary(self) -> str:
        """What was frozen, and each change."""
        verb = "Registered" if self.changes is None else "Amended"
        seen = ", ".join(self.waves_seen)
        note = f" (addendum: after data of {seen} were seen)" if seen else ""
        lines = [
            f"{verb} version {self.version} on {self.frozen_at:%Y-%m-%d %H:%M} UTC{note}.",
            f"SHA-256 {self.hash}",
            *(f"  {text}" for text in self.texts),
        ]
        if self.queued_before:
            n = sum(self.queued_before.values())
            names = ", ".join(f"{name} ({n:,})" for name, n in self.queued_before.items())
            text = f"{n:,} messages were queued as the version before has them: {names}."
            if self.n_reworded:
                text += f" {self.n_reworded:,} of them are queued anew as this version has them."
            else:
                text += (
                    " They go out as they are; to queue them as this version has them: "
                    f"`wavewise outbox reword {self.folder}`."
                )
            lines.append(text)
        return "\n".join(lines)

    def _frame(self) -> pl.DataFrame:
        return _as_text(self.changes or ())


@dataclass(frozen=True, eq=False)
class PlanHistory(VerbResult):
    """Versions of the plan, and every change between them."""

    versions: tuple[Mapping[str, Any], ...]  # number, registry_version, kind, date, reason
    # version, registry_version, date, reason, name, field, before, after, addendum
    changes: tuple[Mapping[str, Any], ...]
    written: tuple[str, ...]  # Pages, where they were asked for.
    text: str  # The changes, for a terminal.

    def facts(self) -> dict[str, Any]:
        """Versions, changes and pages."""
        return {"versions": self.versions, "changes": self.changes, "written": self.written}

    def summary(self) -> str:
        """The changes, version by version."""
        text = self.text if self.versions else "The study is not registered."
        return f"{text}\n\nWrote {', '.join(self.written)}." if self.written else text

    def _frame(self) -> pl.DataFrame:
        return _as_text(self.changes)


def _as_text(changes: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """One row a change; values of any type as JSON."""
    values = ("before", "after")
    rows = [{**one, **{name: json.dumps(one[name]) for name in values}} for one in changes]
    return pl.DataFrame(rows)


def register(study: Study) -> FrozenPlan:
    """Freeze version 1 of the plan."""
    version = study.version
    if version is not None:
        raise RegistrationError(
            f"the study was registered on {version.created_at:%Y-%m-%d} and stands at version "
            f"{version.number}; change it with `wavewise amend {study.folder} --reason TEXT`"
        )
    return _freeze(study, 1, "registration")


def amend(study: Study, reason: str, *, reword: bool = False) -> FrozenPlan:
    """Freeze the plan as it stands now as the next version.

    With ``reword``, messages that are queued in other words are queued anew in the new ones.
    """
    version = study.version
    if version is None:
        raise RegistrationError(
            f"the study is not registered; run `wavewise register {study.folder}` first"
        )
    if not reason.strip():
        raise InputError("found a blank reason; needed why the spec was changed")
    found = changes(json.loads(version.spec_json), canonical_dict(study.spec))
    if not found:
        raise RegistrationError(
            f"the study file says the same as version {version.number}; edit it first"
        )
    found = with_defaults(found, spec_of(json.loads(version.spec_json)), study.spec)
    return _freeze(study, version.number + 1, reason.strip(), found, reword=reword)


def _freeze(
    study: Study,
    number: int,
    reason: str,
    found: tuple[Change, ...] | None = None,
    *,
    reword: bool = False,
) -> FrozenPlan:
    from wavewise.report.documents.registry_page import change_text, key_facts

    seen = tuple(row.wave_id for row in study.store.waves.all() if row.state != "open")
    now = study.clock()
    digest = spec_hash(study.spec)
    old = queued_in_old_words(study, study.spec)
    n_reworded = study.store.versions.add(
        number=number,
        created_at=now,
        reason=reason,
        spec_toml=study.text,
        spec_json=canonical_json(study.spec),
        hash=digest,
        waves_seen=seen,
        reword=old.select(REWORDED).rows() if reword and old.height else (),
    )
    by_message = old.group_by("message_id").agg(pl.col("n").sum()).sort("message_id")
    listed = None if found is None else tuple(key_facts(one, study.spec) for one in found)
    texts = tuple(change_text(one, study.spec) for one in found or ())
    return FrozenPlan(
        *(number, digest, seen, now, listed, texts),
        queued_before=dict(by_message.iter_rows()),
        n_reworded=n_reworded,
        folder=str(study.folder),
    )


def show_history(study: Study, *, export: bool) -> PlanHistory:
    """Every change of the plan; as pages too, where asked for."""
    from wavewise.report.documents.registry_page import changes_facts, history_text, releases

    versions = version_records(study)
    written = _export(study, versions) if export else []
    return PlanHistory(
        versions=tuple(
            {
                "number": one.version.number,
                "registry_version": one.number,
                "kind": one.kind,
                "date": one.version.date.isoformat(),
                "reason": one.version.reason,
            }
            for one in releases(versions)
        ),
        changes=changes_facts(versions),
        written=tuple(str(path) for path in written),
        text=history_text(versions),
    )


def version_records(study: Study) -> list[VersionRecord]:
    """Every registered version, as documents take them."""
    return [
        VersionRecord(
            number=row.number,
            at=row.created_at,
            reason=row.reason,
            canonical=json.loads(row.spec_json),
            waves_seen=row.waves_seen,
        )
        for row in study.store.versions.all()
    ]


def _export(study: Study, versions: Sequence[VersionRecord]) -> list[Path]:
    from wavewise.report.documents.analysis_plan import analysis_plan, analysis_plan_html
    from wavewise.report.documents.registry_page import (
        registry_facts,
        registry_markdown,
        registry_page,
    )

    folder = study.folder / "report"
    folder.mkdir(exist_ok=True)
    rows = {row.wave_id: row for row in study.store.waves.all()}
    flows = {w.id: participants(study, w, rows.get(w.id)) for w in study.spec.waves}
    pages = {
        "registry.html": registry_page(study.spec, versions, flows),
        "registry.md": registry_markdown(study.spec, versions, flows),
        "registry.json": json.dumps(
            registry_facts(study.spec, versions, flows), ensure_ascii=False, indent=1
        ),
        "analysis-plan.html": analysis_plan_html(study.spec),
        "analysis-plan.md": analysis_plan(study.spec),
    }
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return [folder / name for name in pages]

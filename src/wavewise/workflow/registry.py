"""``register``, ``amend`` and ``history``: the spec as it was frozen, and every change since."""

import json
from collections.abc import Sequence
from pathlib import Path

from wavewise.design.canonical import canonical_dict, canonical_json, spec_hash
from wavewise.design.changes import VersionRecord, changes, history
from wavewise.errors import InputError, RegistrationError
from wavewise.workflow.done import Done
from wavewise.workflow.study import Study

__all__ = ["amend", "register", "show_history"]


def register(study: Study) -> Done:
    """Freeze version 1 of the spec.

    Raises
    ------
    RegistrationError
        If the study is registered already.
    """
    version = study.version
    if version is not None:
        raise RegistrationError(
            f"the study was registered on {version.created_at:%Y-%m-%d} and stands at version "
            f"{version.number}; change it with `wavewise amend {study.folder} --reason TEXT`"
        )
    return _freeze(study, 1, "registration", "Registered")


def amend(study: Study, reason: str) -> Done:
    """Freeze the spec as it stands now as the next version.

    Raises
    ------
    RegistrationError
        If the study is not registered, or the spec is the registered one.
    InputError
        If the reason is blank.
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
    done = _freeze(study, version.number + 1, reason.strip(), "Amended")
    listed = [f"  {change.field}: {change.before} -> {change.after}" for change in found]
    return Done("\n".join([done.text, *listed]), {**done.facts, "n_changes": len(found)})


def _freeze(study: Study, number: int, reason: str, verb: str) -> Done:
    seen = tuple(row.wave_id for row in study.store.waves() if row.state == "closed")
    now = study.clock()
    digest = spec_hash(study.spec)
    study.store.add_version(
        number=number,
        created_at=now,
        reason=reason,
        spec_toml=study.text,
        spec_json=canonical_json(study.spec),
        hash=digest,
        waves_seen=seen,
    )
    note = f" (addendum: after data of {', '.join(seen)} were seen)" if seen else ""
    text = f"{verb} version {number} on {now:%Y-%m-%d %H:%M} UTC{note}.\nSHA-256 {digest}"
    return Done(text, {"version": number, "hash": digest, "waves_seen": list(seen)})


def show_history(study: Study, *, export: bool) -> Done:
    """Every change of the spec; as pages too, where asked for."""
    from wavewise.report.registry_page import history_text  # noqa: PLC0415  (heavy, wanted here)

    versions = [
        VersionRecord(
            number=row.number,
            date=row.created_at.date(),
            reason=row.reason,
            canonical=json.loads(row.spec_json),
            waves_seen=row.waves_seen,
        )
        for row in study.store.versions()
    ]
    rows = history(versions)
    text = history_text(rows) if versions else "The study is not registered."
    written = _export(study, versions) if export else []
    if written:
        text += "\n\nWrote " + ", ".join(str(path) for path in written) + "."
    facts = {
        "versions": [
            {"number": v.number, "date": v.date.isoformat(), "reason": v.reason} for v in versions
        ],
        "changes": [row.to_dict() for row in rows],
        "written": [str(path) for path in written],
    }
    return Done(text, facts)


def _export(study: Study, versions: Sequence[VersionRecord]) -> list[Path]:
    from wavewise.report.analysis_plan import analysis_plan, analysis_plan_html  # noqa: PLC0415
    from wavewise.report.registry_page import registry_page  # noqa: PLC0415

    folder = study.folder / "report"
    folder.mkdir(exist_ok=True)
    pages = {
        "registry.html": registry_page(study.spec, versions),
        "analysis-plan.html": analysis_plan_html(study.spec),
        "analysis-plan.md": analysis_plan(study.spec),
    }
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return [folder / name for name in pages]

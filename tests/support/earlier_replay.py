"""Studies of an earlier version: the steps that made them, and all that can be asked of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earlier_version import exported, facts, numbers_of_tables, sha256, unpacked, wavewise

# A step is a verb with its words. "use FILE" puts the plan in FILE in force; names of files are
# those of the study's folder.
Step = tuple[str, ...]
FILES = (".csv", ".toml")

STEPS: dict[str, tuple[Step, ...]] = {
    "peru": (
        ("register",),
        ("people import", "people.csv"),
        ("wave open", "phase-1"),
        ("observe", "events-phase-1.csv"),
        ("wave close", "phase-1"),
        ("analyze", "phase-1", "--randomization-draws", "100"),
        ("decide", "phase-1"),
        ("wave open", "phase-2"),
        ("observe", "events-phase-2.csv"),
        ("wave close", "phase-2"),
        ("analyze", "phase-2"),
        ("evaluate", "phase-2"),
    ),
    "kenya": (
        ("use", "plan-1.toml"),
        ("register",),
        ("people import", "people.csv", "--key-file", "kenya.key"),
        ("wave open", "wave-1"),
        ("observe", "events-wave-1.csv"),
        ("observe", "scores-wave-1.csv", "--kind", "scores"),
        ("wave close", "wave-1"),
        ("analyze", "wave-1"),
        ("decide", "wave-1"),
        ("use", "plan-2.toml"),
        ("amend", "--reason", "the cost of calls became known"),
        ("wave open", "wave-2"),
        ("observe", "events-wave-2.csv"),
        ("observe", "scores-wave-2.csv", "--kind", "scores"),
        ("observe", "scores-late.csv", "--kind", "scores"),
        ("refuse", "--unit", "c007"),
        ("wave close", "wave-2"),
        ("analyze", "wave-2"),
        ("decide", "wave-2"),
    ),
    "middle": (
        ("register",),
        ("people import", "people.csv"),
        ("wave open", "one"),
        ("observe", "events-one.csv"),
        ("refuse", "--unit", "p0011", "--channel", "push"),
    ),
    "elsewhere": (
        ("register",),
        ("wave import", "only", "data.csv"),
        ("wave close", "only"),
        ("analyze", "only"),
    ),
}
# What only the kept study went through: these messages were due on the day when it was made.
ONCE: dict[str, tuple[Step, ...]] = {
    "kenya": (
        ("use", "plan-3.toml"),
        ("amend", "--reason", "a reminder after the study"),
        ("wave open", "reminder"),
        ("refuse", "--unit", "c010"),
        ("send", "--key-file", "kenya.key"),
        ("refuse", "--unit", "c011", "--channel", "file"),
    ),
}
# What can be asked of the kept study, in this order, on a copy.
QUESTIONS: dict[str, tuple[Step, ...]] = {
    "peru": (
        ("check",), ("status",), ("history", "--export"),
        ("analyze", "phase-1"), ("analyze", "phase-2"), ("evaluate", "phase-2"),
        ("preview", "phase-1", "--unit", "m0003"), ("design", "--simulations", "40"),
    ),
    "kenya": (
        ("check",), ("status",), ("history", "--export"), ("analyze", "wave-1"),
        ("analyze", "wave-2"), ("decide", "wave-2"), ("preview", "wave-1", "--unit", "c003"),
        ("design", "--simulations", "40", "--clusters", "12"),
    ),
    "middle": (
        ("check",), ("status",), ("history",), ("preview", "one"), ("wave close", "one"),
        ("analyze", "one"), ("decide", "one"), ("wave open", "two"), ("status",),
    ),
    "elsewhere": (("check",), ("status",), ("history",), ("analyze", "only")),
}  # fmt: skip
# In the end: what changes the copy.
CHANGES: dict[str, tuple[Step, ...]] = {
    "peru": (("erase", "--unit", "m0003"),),
    "kenya": (("contacts rotate",), ("erase", "--unit", "c003"), ("outbox cancel",)),
}


def take(folder: Path, step: Step) -> Any:
    """The facts of one step of a study."""
    verb, *words = step
    if verb == "use":
        shutil.copyfile(folder / words[0], folder / "study.toml")
        return None
    if verb == "contacts rotate":
        found = facts(
            folder, "contacts", "rotate", folder, "--key-file", _placed(folder, "kenya.key")
        )
        return {"n_encrypted": found["n_encrypted"]}  # the new key is drawn from the system
    given = [_placed(folder, word) for word in words]
    return facts(folder, *verb.split(), folder, *given)


def _placed(folder: Path, word: str) -> str | Path:
    if word.endswith(FILES):
        return folder / word
    return folder.parent / word if word.endswith(".key") else word  # a key lies outside


def replayed(name: str, folder: Path, before: Callable[[Path, Step], None] | None = None) -> Any:
    """Every step of a study taken again in a fresh folder, and what it exports then.

    The folder holds the study's files; ``before`` is called before each step.
    """
    found: dict[str, Any] = {}
    for i, step in enumerate(STEPS[name]):
        if before is not None:
            before(folder, step)
        found[f"{i:02d} {' '.join(step)}"] = take(folder, step)
    out = folder.parent / f"{name}-replayed-data"
    found["exported"] = exported(out, folder, moments=False)
    found["policies"] = {
        path.name: sha256(path.read_bytes()) for path in sorted(folder.glob("policies/*.npz"))
    }
    return found


def asked(name: str, folder: Path) -> Any:
    """All answers about a kept study, of a copy."""
    found: dict[str, Any] = {}
    for i, step in enumerate(QUESTIONS[name]):
        found[f"{i:02d} {' '.join(step)}"] = take(folder, step)
    found["report"] = facts(folder, "report", folder)
    found["report.json"] = json.loads((folder / "report" / "report.json").read_text("utf-8"))
    found["exported"] = exported(folder.parent / f"{name}-data", folder)
    for i, step in enumerate(CHANGES.get(name, ())):
        found[f"then {i} {' '.join(step)}"] = take(folder, step)
    found["exported then"] = exported(folder.parent / f"{name}-data-then", folder, moments=False)
    return found


def pages(folder: Path) -> dict[str, Any]:
    """Numbers in the tables of every page of a study."""
    return {
        path.name: numbers_of_tables(path) for path in sorted((folder / "report").glob("*.html"))
    }


def fresh(name: str, folder: Path) -> Path:
    """A study's files without its database, policies and reports."""
    unpacked(name, folder)
    (folder / "study.db").unlink(missing_ok=True)
    shutil.rmtree(folder / "policies", ignore_errors=True)
    return folder


def demonstration(folder: Path) -> Any:
    """What ``wavewise demo --units 2000 --seed 7`` makes."""
    found = {"told": facts(folder, "demo", "--units", "2000", "--seed", "7", "--out", folder)}
    for path in sorted([*folder.glob("*.csv"), *folder.glob("policies/*.npz")]):
        found[path.name] = sha256(path.read_bytes())
    found["exported"] = exported(folder.parent / "demo-data", folder)
    found["report.json"] = json.loads((folder / "report" / "report.json").read_text("utf-8"))
    return found


def compared(folder: Path) -> Any:
    """``wavewise compare`` of the Peru study with a copy of it."""
    one, two = unpacked("peru", folder / "one"), unpacked("peru", folder / "two")
    page = folder / "contexts.html"
    text = wavewise("compare", one, two, "--out", page, "--json")
    return {
        "told": json.loads(text.replace(str(folder), "STUDY")),
        "tables": numbers_of_tables(page),
    }

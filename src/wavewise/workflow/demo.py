"""``demo``: a whole adaptive study on simulated families, from plan to report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import count
from pathlib import Path

from wavewise.design.waves import Wave
from wavewise.errors import InputError
from wavewise.report.contents import TruthContents, TruthRow
from wavewise.simulated import FamilyWorld, simulate_families
from wavewise.streams import stream
from wavewise.workflow.contents import report_contents
from wavewise.workflow.decide import decide
from wavewise.workflow.done import Done, text_table
from wavewise.workflow.effect_contents import shown_outcome
from wavewise.workflow.observe import close_wave, observe
from wavewise.workflow.open_wave import open_wave, window_start
from wavewise.workflow.people import import_people
from wavewise.workflow.registry import register
from wavewise.workflow.report import write_report
from wavewise.workflow.study import DATABASE_FILE, STUDY_FILE, Study, open_study

__all__ = ["run_demo"]

Step = Callable[[str, int, int], None]
MARK = "# made by wavewise demo"
N_STEPS = 9


def run_demo(folder: Path, *, n_units: int, seed: int, step: Step) -> Done:
    """Plan, register, randomize, observe, learn and decide in two waves, and report.

    Parameters
    ----------
    folder : Path
        To make. A folder that an earlier demonstration made is replaced.
    n_units : int
        Number of simulated parents.
    seed : int
        Of every draw.
    step : callable
        Told of each step: its text, its number, the number of all.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    _prepare(folder, seed)
    numbers = count(1)

    def tell(text: str) -> None:
        step(text, next(numbers), N_STEPS)

    tell(f"simulate {n_units:,} families")
    world = simulate_families(n_units, stream(seed, "demo", "families"))
    world.people.write_csv(folder / "people.csv")
    with _demo_study(folder) as (study, at):
        register(study)
        tell("import people")
        import_people(study, folder / "people.csv")
        for wave in study.spec.waves:
            tell(f"{wave.id}: randomize")
            open_wave(at(study, wave, days=0), wave.id)
            tell(f"{wave.id}: send and observe")
            _observe(study, wave, world, seed)
            tell(f"{wave.id}: close and decide")
            after = at(study, wave, days=wave.window_days + 1)
            close_wave(after, wave.id)
            decided = decide(after, wave.id)
        tell("report")
        truth = _truth(study, world)
        report = write_report(after, simulated=True, truth=truth)
        return _told(after, truth, decided, Path(report.facts["page"]))


def _prepare(folder: Path, seed: int) -> None:
    template = files("wavewise.workflow").joinpath("demo.toml").read_text(encoding="utf-8")
    path = folder / STUDY_FILE
    if path.exists() and not path.read_text(encoding="utf-8").startswith(MARK):
        raise InputError(f"found another study in {folder}; give another folder with --out")
    if folder.exists() and not path.exists() and any(folder.iterdir()):
        raise InputError(f"found files in {folder}; give an empty or a new folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{DATABASE_FILE}{suffix}").unlink(missing_ok=True)
    path.write_text(f"{MARK}\n{template.replace('SEED', str(seed))}", encoding="utf-8")


@contextmanager
def _demo_study(folder: Path) -> Iterator[tuple[Study, Callable[..., Study]]]:
    """The study, and a way to see it on a simulated day, so that runs are the same every day."""

    def at(study: Study, wave: Wave, *, days: int) -> Study:
        moment = window_start(study, wave) + timedelta(days=days)
        return replace(study, clock=lambda: moment)

    planned = datetime(2023, 10, 2, 9, tzinfo=UTC)
    with open_study(folder, clock=lambda: planned) as study:
        yield study, at


def _sequences(study: Study, wave: Wave) -> dict[str, tuple[str, ...]]:
    return {arm.id: arm.sequence for arm in study.spec.arms_of(wave)}


def _observe(study: Study, wave: Wave, world: FamilyWorld, seed: int) -> None:
    events = world.events(
        study.store.assignment(wave.id),
        _sequences(study, wave),
        starts=window_start(study, wave),
        window_days=wave.window_days,
        rng=stream(seed, "demo", wave.id, "responses"),
        prefix=wave.id,
    )
    path = study.folder / f"events-{wave.id}.csv"
    events.write_csv(path)
    observe(study, path)


def _truth(study: Study, world: FamilyWorld) -> TruthContents:
    """The login rate of all families under each arm, in closed form from the simulated world."""
    outcome = shown_outcome(study.spec.primary)
    control = world.arm_mean(())
    rows = [
        TruthRow(arm, mean := world.arm_mean(sequence), mean - control if sequence else None)
        for arm, sequence in _sequences(study, study.spec.waves[-1]).items()
    ]
    return TruthContents(outcome=outcome, rows=tuple(rows))


def _told(study: Study, truth: TruthContents, decided: Done, page: Path) -> Done:
    contents = report_contents(study)
    effects = next(item for item in contents.effects if item.outcome.primary)
    true = {row.arm: row.effect for row in truth.rows}
    rows = [
        [
            row.arm,
            100 * row.estimate,
            100 * row.conf_low,
            100 * row.conf_high,
            100 * (true[row.arm] or 0.0),
        ]
        for row in effects.rows
    ]
    best = max((row for row in truth.rows if row.effect is not None), key=lambda row: row.mean)
    header = ["arm", "effect (pp)", "95% low", "95% high", "truth (pp)"]
    text = "\n".join(
        [
            "Simulated families; effects on the weekly login, in percentage points, both waves:",
            text_table(header, rows),
            "",
            decided.text,
            f"The truth: {best.arm} is best.",
            "",
            f"Report: {page}",
        ]
    )
    facts = {
        "report": str(page),
        "chosen": decided.facts["arm"],
        "best": best.arm,
        "effects": [dict(vars(row)) | {"truth": true[row.arm]} for row in effects.rows],
    }
    return Done(text, facts)

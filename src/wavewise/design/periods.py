"""Occasions on which a score is taken, and when in them each wave began."""

from collections.abc import Iterator, Mapping, Sequence

from wavewise.design.known import Known, refer
from wavewise.design.outcomes import Outcome
from wavewise.errors import Fault

__all__ = ["first_periods", "own_period", "period_faults"]


def first_periods(outcome: Outcome, wave_ids: Sequence[str]) -> Mapping[str, str] | None:
    """Wave: the first period after it began; None where the study file does not say.

    Where `begins` is left out, one period more than waves means: the first period is before all
    waves, and a further one after each.

    Parameters
    ----------
    outcome : Outcome
        Of kind score, with periods.
    wave_ids : sequence of str
        All waves, in the order of the file.

    Examples
    --------
    >>> score = Outcome(id="reading", kind="score", periods=("E2", "M3", "E3"))
    >>> first_periods(score, ["wave-1", "wave-2"])
    {'wave-1': 'M3', 'wave-2': 'E3'}
    >>> first_periods(score, ["wave-1"]) is None
    True
    """
    if outcome.begins:
        return outcome.begins
    if outcome.periods and len(outcome.periods) == len(wave_ids) + 1:
        return dict(zip(wave_ids, outcome.periods[1:], strict=True))
    return None


def own_period(outcome: Outcome, wave_id: str, wave_ids: Sequence[str]) -> str:
    """The period whose score is a wave's own outcome: the last one before the next wave began.

    Examples
    --------
    >>> score = Outcome(id="reading", kind="score", periods=("E2", "M3", "E3"))
    >>> [own_period(score, wave, ["wave-1", "wave-2"]) for wave in ("wave-1", "wave-2")]
    ['M3', 'E3']
    """
    begins = first_periods(outcome, wave_ids)
    if begins is None or wave_id not in begins:
        return outcome.periods[-1]
    place = {wave: outcome.periods.index(period) for wave, period in begins.items()}
    later = [start for start in place.values() if start > place[wave_id]]
    return outcome.periods[min(later) - 1] if later else outcome.periods[-1]


def period_faults(known: Known) -> Iterator[Fault]:
    """What is wrong with the periods of scores, and where a model needs to know more of them."""
    waves = [wave.id for wave in known.entries("waves")]
    for outcome in known.entries("outcomes"):
        yield from _faults_of(outcome, f"outcomes['{outcome.id}']", known)
    if len(waves) < len(known.names("waves")):
        return
    outcomes = {outcome.id: outcome for outcome in known.entries("outcomes")}
    for model in known.table("models").values():
        outcome = outcomes.get(model.outcome)
        if model.kind == "hierarchical normal" and outcome is not None:
            yield from _needed_by_model(outcome, waves)


def _faults_of(outcome: Outcome, path: str, known: Known) -> Iterator[Fault]:
    if outcome.kind != "score":
        for name in ("periods", "begins"):
            if getattr(outcome, name):
                yield Fault(f"{path}.{name}", f"kind '{outcome.kind}'", "kind 'score' beside it")
        return
    if len(set(outcome.periods)) < len(outcome.periods):
        yield Fault(f"{path}.periods", "a name twice", "names that differ", "rename one")
    for wave, period in outcome.begins.items():
        yield from refer(f"{path}.begins", wave, known.names("waves"), "a wave")
        yield from refer(f"{path}.begins['{wave}']", period, set(outcome.periods), "a period")


def _needed_by_model(outcome: Outcome, waves: Sequence[str]) -> Iterator[Fault]:
    """The model compares scores before and after each wave began."""
    if outcome.kind != "score" or not outcome.periods:
        return
    begins = first_periods(outcome, waves)
    missing = [wave for wave in waves if begins is None or wave not in begins]
    if missing:
        example = ", ".join(f'"{wave}" = "{outcome.periods[-1]}"' for wave in missing)
        yield Fault(
            f"outcomes['{outcome.id}'].begins",
            f"nothing for {', '.join(missing)}, with {len(outcome.periods)} periods",
            "the first period after each wave began",
            f"add begins = {{ {example} }}",
        )

"""Units to arms, to halves that are messaged or held out, and to what each arm's policy gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from wavewise.design.waves import Wave
from wavewise.randomize import assign
from wavewise.streams import stream
from wavewise.workflow.frames import UnitData
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.decide import Policy
    from wavewise.randomize import Assignment

__all__ = ["CELL_SEPARATOR", "Drawn", "Shares", "draw", "draw_wave"]

Shares = Mapping[str, float] | Mapping[str, Mapping[str, float]]
MESSAGED, OUT = "messaged", "held out"
CELL_SEPARATOR = "\x1f"  # no arm's id holds it


@dataclass(frozen=True)
class Drawn:
    """A wave as it was drawn.

    Parameters
    ----------
    assignment : Assignment
        Of the cells: arms, or arms by messaged and held out.
    rows : polars.DataFrame
        As the store takes them: unit_id, stratum, arm, propensity, held_out, content,
        content_propensity; one row a unit.
    """

    assignment: "Assignment"
    rows: pl.DataFrame


def draw(study: Study, wave: Wave, purpose: str, units: UnitData, shares: Shares) -> "Assignment":
    """Units to the names of shares, exactly within strata and groups."""
    rng = stream(study.spec.study.seed, wave.id, purpose)
    spec = study.spec
    return assign(units.ids, units.stratum(spec), shares, rng, cluster=units.groups(spec))


def draw_wave(
    study: Study, wave: Wave, units: UnitData, shares: Shares, policies: "Mapping[str, Policy]"
) -> Drawn:
    """Arms of all units, the held-out share of each arm, and what policies give.

    Notes
    -----
    Arms and halves are drawn together, as the cells arm by half, so that each cell of each stratum
    is within one unit of its share. A policy's choice is written down for held-out units too.
    """
    out = wave.held_out_share
    cells = shares if not out else _cells(shares, out, wave.control_id)
    assignment = draw(study, wave, "assign", units, cells)
    rows = pl.DataFrame(
        {
            "unit_id": units.ids,
            "stratum": units.stratum(study.spec),
            "arm": assignment.arm,
            "propensity": assignment.propensity,
        }
    )
    if out:
        parts = pl.col("arm").str.split_exact(CELL_SEPARATOR, 1)
        rows = rows.with_columns(
            arm=parts.struct.field("field_0"),
            held_out=parts.struct.field("field_1") == OUT,
        )
    return Drawn(assignment, _with_content(study, wave, units, rows, policies))


def _cells(shares: Shares, out: float, control: str | None) -> Shares:
    """Shares of the cells arm by half; the control has no half to hold out."""
    if any(isinstance(own, Mapping) for own in shares.values()):
        nested: Any = shares
        return {stratum: _halves(own, out, control) for stratum, own in nested.items()}
    plain: Any = shares
    return _halves(plain, out, control)


def _halves(shares: Mapping[str, float], out: float, control: str | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for arm, share in shares.items():
        part = 0.0 if arm == control else out
        found[f"{arm}{CELL_SEPARATOR}{MESSAGED}"] = float(share) * (1 - part)
        if part:
            found[f"{arm}{CELL_SEPARATOR}{OUT}"] = float(share) * part
    return found


def _with_content(
    study: Study,
    wave: Wave,
    units: UnitData,
    rows: pl.DataFrame,
    policies: "Mapping[str, Policy]",
) -> pl.DataFrame:
    if not policies:
        return rows
    X = units.covariates(study.spec)
    content = np.full(len(units), None, dtype=object)
    probability = np.full(len(units), np.nan)
    for name, policy in policies.items():
        rng = stream(study.spec.study.seed, wave.id, "content", name)
        # for everybody, so that what a unit would get does not hang on the others of its arm
        given, law = policy.assign(X, rng), policy.probabilities(X)
        own = (rows["arm"] == name).to_numpy()
        place = np.searchsorted(np.sort(policy.arms), given)
        column = np.argsort(policy.arms)[place]
        content[own] = given[own]
        probability[own] = law[np.arange(len(units)), column][own]
    return rows.with_columns(
        content=pl.Series(content.tolist(), dtype=pl.String),
        content_propensity=pl.Series(probability).fill_nan(None),
    )

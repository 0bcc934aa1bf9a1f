"""Effects in words: the table, one sentence, the assumptions."""

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from wavewise.estimate.effects import Effects

__all__ = ["sentence", "summary_text", "table_lines"]

_HEADER = ("arm", "estimate", "std. error", "conf. low", "conf. high", "p value", "units")


def summary_text(effects: "Effects") -> str:
    """Table of the effects, what it says in a sentence, and the assumptions."""
    mean = _number(_float(effects.control_mean.estimate))
    lines = [
        f"Intent-to-treat effects against '{effects.control}' (mean {mean})",
        effects.provenance.method,
        "",
        *table_lines(effects.to_frame()),
        "",
        f"Intervals at level {effects.level:g}, each by itself; {_df_text(effects)}.",
        sentence(effects),
        *_notes(effects),
        "Assumptions:",
        *(f"- {text}" for text in effects.assumptions),
    ]
    return "\n".join(lines)


def sentence(effects: "Effects") -> str:
    """The largest effect, with its interval, in words."""
    frame = effects.to_frame().head(len(effects.names)).drop_nulls("std_error")
    if frame.is_empty():
        return "No effect has a standard error."
    top = frame.sort(["estimate", "arm"], descending=[True, False]).row(0, named=True)
    return (
        f"The largest effect is that of '{top['arm']}': {_number(top['estimate'])} "
        f"({_number(top['conf_low'])} to {_number(top['conf_high'])}), picked as the largest of "
        f"{frame.height}, so that it tends to be too high."
        if frame.height > 1
        else f"The effect of '{top['arm']}' is {_number(top['estimate'])} "
        f"({_number(top['conf_low'])} to {_number(top['conf_high'])})."
    )


def _notes(effects: "Effects") -> list[str]:
    notes = [f"'{name}': {why}." for name, why in effects.not_estimable.items()]
    if effects.planned is not None:
        notes += [f"'{name}': {why}." for name, why in effects.planned.not_estimable.items()]
    for counts, text in (
        (effects.n_missing, "units left out, their outcome is missing"),
        (effects.n_excluded, "units left out, their stratum compares nothing"),
    ):
        if any(counts.values()):
            by_arm = ", ".join(f"{arm} {n:,}" for arm, n in counts.items())
            notes.append(f"{sum(counts.values()):,} {text} ({by_arm}).")
    return notes


def _df_text(effects: "Effects") -> str:
    if effects.se in {"HC2", "CR2"}:
        return "Student's t with Satterthwaite degrees of freedom"
    if effects.se.startswith("CR"):
        return "Student's t with one degree of freedom less than clusters"
    return "Student's t with residual degrees of freedom"


def table_lines(frame: pl.DataFrame) -> list[str]:
    """Rows of effects as lines of text, columns aligned."""
    body = [
        (row[0], *(_number(value) for value in row[1:5]), _p_value(row[5]), f"{row[6]:,}")
        for row in frame.rows()
    ]
    rows = [_HEADER, *body]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEADER))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _float(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _number(value: float | None) -> str:
    return "not est." if value is None else f"{value:.5g}"


def _p_value(value: float | None) -> str:
    if value is None:
        return "not est."
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.1e}"

"""Figures 1, 2, 5, A.1 and A.2 in the paper's layout, from the simulated data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from fits import PERIODS, SETS, Study

from wavewise.report.figures.draw import Figure

LEVELS = {"basic": (0, 29), "intermediate": (30, 64), "advanced": (65, 85)}
MISSING = "missing"
# Figure 2: section 3.3 and footnotes; days that the paper names.
TIMELINE = (
    ("development of calls and exercises", "2021-02-01", "2021-04-30"),
    ("term 2", "2021-03-01", "2021-03-19"),
    ("term 3, first half", "2021-05-11", "2021-06-12"),
    ("wave 1: calls", "2021-05-11", "2021-06-11"),
    ("model of engagement, shares of wave 2", "2021-05-11", "2021-06-11"),
    ("term 3, second half", "2021-06-14", "2021-07-13"),
    ("wave 2: calls", "2021-06-14", "2021-07-13"),
    ("late reading scores", "2021-07-16", "2021-08-20"),
)


def level_of(scores: pl.Series) -> pl.Series:
    """Level of each score by the cut-offs of the leveled formats, or that it is missing."""
    text = pl.lit(MISSING)
    for name, (low, high) in LEVELS.items():
        text = pl.when(scores.is_between(low, high)).then(pl.lit(name)).otherwise(text)
    return pl.select(text.alias("level"))["level"]


def figure_1(study: Study) -> Figure:
    """Two exams of children who got no calls in between, and their levels in both."""
    before = study.scores.filter(pl.col("period").is_in(PERIODS[:2]) & (pl.col("treated") == 0))
    both = before.pivot("period", index="phone_id", values="score")
    seen = both.drop_nulls()
    first, second = (level_of(both[period]) for period in PERIODS[:2])
    moves = pl.DataFrame({"first": first, "second": second}).group_by("first", "second").len()
    order = [*LEVELS, MISSING]
    scatter = {
        "data": {"values": seen.select(x=PERIODS[0], y=PERIODS[1]).to_dicts()},
        "mark": {"type": "point", "size": 12, "opacity": 0.5, "color": "#0072B2"},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": f"score, {PERIODS[0]}"},
            "y": {"field": "y", "type": "quantitative", "title": f"score, {PERIODS[1]}"},
        },
        "width": 300,
        "height": 300,
    }
    table = {
        "data": {"values": moves.to_dicts()},
        "encoding": {
            "x": {"field": "first", "sort": order, "title": f"level by {PERIODS[0]}"},
            "y": {"field": "second", "sort": order[::-1], "title": f"level by {PERIODS[1]}"},
        },
        "layer": [
            {
                "mark": "rect",
                "encoding": {"color": {"field": "len", "type": "quantitative", "legend": None}},
            },
            {"mark": "text", "encoding": {"text": {"field": "len"}}},
        ],
        "width": 300,
        "height": 300,
    }
    share = float(np.corrcoef(seen[PERIODS[0]], seen[PERIODS[1]])[0, 1])
    return _figure(
        "figure-1",
        {"hconcat": [scatter, table]},
        "Reading scores of two exams without calls in between",
        f"{seen.height:,} children; correlation {share:.2f}. The paper shows the middle and end of "
        "term 2; scores of its middle are in no table, so that the end of term 2 and the middle of "
        "term 3 stand here.",
    )


def figure_2() -> Figure:
    """The study's timeline."""
    rows = [{"what": w, "from": a, "to": b, "row": i} for i, (w, a, b) in enumerate(TIMELINE)]
    spec = {
        "data": {"values": rows},
        "mark": {"type": "bar", "height": 14, "color": "#56B4E9"},
        "encoding": {
            "y": {"field": "what", "sort": [w for w, *_ in TIMELINE], "title": None,
                  "axis": {"labelLimit": 300}},
            "x": {"field": "from", "type": "temporal", "title": None, "axis": {"format": "%d %b"}},
            "x2": {"field": "to"},
        },
        "width": 420,
        "height": {"step": 24},
    }  # fmt: skip
    return _figure("figure-2", spec, "Timeline for the study", "Days that the paper names.")


def figure_5(regret: np.ndarray, actual: float) -> Figure:
    """Posterior regret of the chosen arm over simulated second waves."""
    edges = np.arange(0, 0.0035, 0.00025)
    counts = np.histogram(regret[np.isfinite(regret)], edges)[0]
    rows = [{"from": float(a), "to": float(b), "n": int(n)}
            for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)]  # fmt: skip
    spec = {
        "width": 420,
        "height": 260,
        "layer": [
            {
                "data": {"values": rows},
                "mark": {"type": "bar", "color": "#56B4E9"},
                "encoding": {
                    "x": {"field": "from", "bin": {"binned": True, "step": 0.00025},
                          "title": "Posterior regret associated with the arm selected"},
                    "x2": {"field": "to"},
                    "y": {"field": "n", "type": "quantitative", "title": "Count"},
                },
            },
            {
                "data": {"values": [{"x": actual}]},
                "mark": {"type": "rule", "color": "#D55E00"},
                "encoding": {"x": {"field": "x", "type": "quantitative"}},
            },
        ],
    }  # fmt: skip
    below = float(np.mean(regret[np.isfinite(regret)] <= actual))
    return _figure(
        "figure-5",
        spec,
        "Expected regret after both waves, over simulated second waves",
        f"The line is the study's .02 points, here at the {100 * below:.0f}th percentile (38th in "
        "print, where wave 1 left more doubt).",
    )


def figure_a1(study: Study) -> Figure:
    """Which level of exercises children get under each variant: their number."""
    known = study.people.select("phone_id", "arm", score="score_term_2")
    known = known.with_columns(level=level_of(known["score"]))
    names = {"A": "leveled", "B": "intermediate for all", "C": "parents choose"}
    rows = []
    for variant, words in names.items():
        part = known.filter(pl.col("arm").str.ends_with(variant))
        if variant == "A":
            rows += [{"variant": f"{variant}: {words}", "level": level, "n": n}
                     for level, n in part["level"].value_counts().iter_rows()]  # fmt: skip
        else:
            level = "intermediate" if variant == "B" else "by choice"
            rows.append({"variant": f"{variant}: {words}", "level": level, "n": part.height})
    spec = {
        "data": {"values": rows},
        "mark": "bar",
        "encoding": {
            "y": {"field": "variant", "title": None},
            "x": {"field": "n", "type": "quantitative", "title": "children"},
            "color": {"field": "level", "sort": [*LEVELS, MISSING, "by choice"]},
        },
        "width": 420,
        "height": {"step": 34},
    }
    return _figure(
        "figure-A1",
        spec,
        "Exercise leveling variations",
        "Missing scores take the class median, classes without scores the intermediate level.",
    )


def figure_a2(study: Study) -> tuple[Figure, dict[str, list[float]]]:
    """Histogram of sets engaged in, by arm; and the share of phones at each number."""
    rows, shares = [], {}
    for arm in study.arms:
        sets = study.called().filter(arm=arm)["engaged"].to_numpy()
        shares[arm] = (np.bincount(sets, minlength=SETS + 1) / sets.size).tolist()
        rows += [{"arm": arm, "sets": k, "share": share} for k, share in enumerate(shares[arm])]
    spec = {
        "data": {"values": rows},
        "facet": {"field": "arm", "sort": study.arms, "title": None},
        "columns": 3,
        "spec": {
            "mark": {"type": "bar", "color": "#0072B2"},
            "encoding": {
                "x": {"field": "sets", "type": "ordinal", "title": "sets engaged in, of nine"},
                "y": {"field": "share", "type": "quantitative", "axis": {"format": "%"},
                      "title": "phones"},
            },
            "width": 180,
            "height": 130,
        },
    }  # fmt: skip
    zero = [shares[arm][0] for arm in study.arms]
    figure = _figure(
        "figure-A2",
        spec,
        "Observed call engagement, by treatment arm",
        f"Never: {100 * min(zero):.0f} to {100 * max(zero):.0f} % of phones; heights are not "
        "printed, only that they are nearly the same but for T2C.",
    )
    return figure, shares


def write(figures: Sequence[Figure], out: Path) -> str:
    """As SVG and PNG beside the tables."""
    for figure in figures:
        (out / f"{figure.name}.svg").write_text(figure.to_svg(), encoding="utf-8")
        (out / f"{figure.name}.png").write_bytes(figure.to_png())
    lines = [f"Figure {f.name[7:].replace('A', 'A.')}: {f.title}. {f.caption}" for f in figures]
    return "\n".join([*lines, ""])


def _figure(name: str, spec: dict, title: str, caption: str) -> Figure:
    whole = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "title": title} | spec
    return Figure(name, whole, whole, title, f"{title}. {caption}", caption)

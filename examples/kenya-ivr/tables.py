"""The published tables from our data, in their layout, beside the printed figures.

Stops with a list where a figure that published totals determine is not the printed one.
"""

import json
import os
import sys
from pathlib import Path

from call_tables import table_1, table_2, table_3, table_a3, table_a6, table_a7
from correction_tables import table_5
from figures import figure_1, figure_2, figure_a1, figure_a2, write
from fits import CallFits, ReadingFits, Study, fit_calls, fit_reading, sensitivities
from quality_tables import table_a1, table_a2
from reading_tables import table_4, table_a4
from welfare_tables import participants, table_4_scaled

import wavewise as ww

N_DRAWS = 8_000  # as many as in the paper


def main(out: str) -> None:
    """Print all tables; write them as numbers to tables.json."""
    study = Study.read(Path(out))
    n_draws = int(os.environ.get("KENYA_DRAWS", N_DRAWS))
    calls, reading = fit_calls(study, n_draws), fit_reading(study, n_draws)
    tables = [
        table_1(study, calls), table_2(study), table_3(study, calls), participants(study),
        table_4(study, reading), table_4_scaled(study, reading),
        table_5(study, calls), table_a1(study), table_a2(study),
        table_a3(study), table_a4(study, reading), table_a6(study, calls), table_a7(study, calls),
    ]  # fmt: skip
    for table in tables:
        print(table.text())
    print(what_the_model_misses(calls))
    numbers = {table.number: table.to_dict() for table in tables}
    numbers["model check"] = model_check(calls)
    print(prior_sensitivities(study, numbers))
    write_figures(Path(out), calls, reading)
    engagement, numbers["figure A.2"] = figure_a2(study)
    print(write([figure_1(study), figure_2(), figure_a1(study), engagement], Path(out)))
    path = Path(out) / "tables.json"
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    faults = [fault for table in tables for fault in table.faults]
    if faults:
        sys.exit("\n".join(faults))
    print(f"Every figure that the published totals determine agrees. Numbers: {path}")


def prior_sensitivities(study: Study, numbers: dict) -> str:
    """Both models under every prior that the study tried."""
    lines = ["The same data under other priors (lowest regret; probability of being best)"]
    for name, told in sensitivities(study).items():
        lines += [f"{name}:", told.summary()]
        numbers[f"priors, {name}"] = told.to_dict()
    return "\n".join([*lines, ""])


def write_figures(out: Path, calls: CallFits, reading: ReadingFits) -> None:
    """Figures 3 and 4 in the paper's layout, as SVG and PNG."""
    panels = {"(a) Balanced panel": reading.balanced, "(b) Unbalanced panel": reading.unbalanced}
    drawn = {
        "figure-3": ww.report.posterior_figure(
            calls.both, title="Posterior distributions of parent engagement coefficients"
        ),
        "figure-4": ww.report.posterior_figure(
            panels,
            title="Posterior distributions of treatment effects for ORF scores",
            x_title="effect against the control, correct words a minute",
        ),
    }
    for name, figure in drawn.items():
        (out / f"{name}.svg").write_text(figure.to_svg(), encoding="utf-8")
        (out / f"{name}.png").write_bytes(figure.to_png())
    print(f"Figures 3 and 4: {out}/figure-3.png, {out}/figure-4.png (and .svg).\n")


def what_the_model_misses(calls: CallFits) -> str:
    """The plain model against the one in which parents differ, and what it does to the choice."""
    lines = ["What the study's model misses", calls.plain_check.text]
    lines.append(f"With parents who differ: {calls.overdispersed_check.text}")
    for name, post in (("plain", calls.both), ("overdispersed", calls.overdispersed)):
        best = int(post.policy_regret.argmin())
        lines.append(
            f"{name + ':':15s}choose {post.arms[best]}; best with probability "
            f"{post.prob_optimal[best]:.3f}, expected regret {100 * post.policy_regret[best]:.2f} "
            f"points; sd of its beta {post.sd[best]:.2f}, of school effects {post.kappa_mean:.2f}"
        )
    return "\n".join([*lines, ""])


def model_check(calls: CallFits) -> dict:
    """The same as numbers."""
    both = {"plain": calls.both, "overdispersed": calls.overdispersed}
    checks = {"plain": calls.plain_check, "overdispersed": calls.overdispersed_check}
    return {
        name: {
            "check": checks[name].verdict,
            "prob_optimal": post.prob_optimal.tolist(),
            "sd": post.sd.tolist(),
            "kappa": post.kappa_mean,
        }
        for name, post in both.items()
    }


if __name__ == "__main__":
    main(sys.argv[1])

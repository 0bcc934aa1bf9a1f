"""Our figures beside those of other software and of the article; stops where they differ.

The reference figures were computed with statsmodels 0.15.0 from the same file; the article prints
effects of .018, .026, .049 and .081 (Gerber, Green and Larimer 2008, tables 2 and 3).
"""

import json
import sys
from pathlib import Path

import polars as pl

import wavewise as ww

ARMS = ("civic-duty", "hawthorne", "self", "neighbors")
LABELS = {" Control": "control", " Civic Duty": "civic-duty", " Hawthorne": "hawthorne"}
LABELS |= {" Self": "self", " Neighbors": "neighbors"}
PUBLISHED = (0.018, 0.026, 0.049, 0.081)
DIFFERENCE = (0.017899, 0.025736, 0.048513, 0.081310)
SE_HC2 = (0.002595, 0.002609, 0.002647, 0.002692)
SE_HOUSEHOLD = (0.003237, 0.003258, 0.003300, 0.003370)
WITH_BLOCKS = (0.018042, 0.026157, 0.048885, 0.081838)
SE_WITH_BLOCKS = (0.003011, 0.003020, 0.003063, 0.003134)
TOLERANCE_ESTIMATE, TOLERANCE_SE = 1e-6, 1e-5


def main(analysis_path: str, data_path: str) -> None:
    analysis = json.loads(Path(analysis_path).read_text(encoding="utf-8"))
    from_study = {
        item["estimator"]: {row["arm"]: row for row in item["rows"]} for item in analysis["effects"]
    }
    data = pl.read_csv(data_path, columns=["treatment", "voted"])
    voted, arm = (data["voted"] == "Yes"), data["treatment"].replace_strict(LABELS)
    plain = ww.estimate.ate(voted, arm, arms=["control", *ARMS])
    rows = {
        "difference, HC2": (plain.to_frame().to_dicts(), DIFFERENCE, SE_HC2),
        "difference, by household": (
            [from_study["difference in means"][name] for name in ARMS], DIFFERENCE, SE_HOUSEHOLD,
        ),
        "blocks, by household": (
            [from_study["ols"][name] for name in ARMS], WITH_BLOCKS, SE_WITH_BLOCKS,
        ),
    }  # fmt: skip
    faults = [fault for name, row in rows.items() for fault in _compare(name, *row)]
    if faults:
        sys.exit("\n".join(faults))
    print("All estimates agree within 1e-6, all standard errors within 1e-5.")


def _compare(name: str, found: list, estimates: tuple, errors: tuple) -> list[str]:
    print(f"{name:26s} {'estimate':>9s} {'reference':>9s} {'se':>9s} {'reference':>9s}  printed")
    faults = []
    for arm, row, estimate, error, printed in zip(
        ARMS, found, estimates, errors, PUBLISHED, strict=True
    ):
        print(
            f"  {arm:24s} {row['estimate']:9.6f} {estimate:9.6f} {row['std_error']:9.6f} "
            f"{error:9.6f}  {printed:.3f}"
        )
        if abs(row["estimate"] - estimate) > TOLERANCE_ESTIMATE:
            faults.append(f"{name}, {arm}: estimate {row['estimate']} is not {estimate}")
        if abs(row["std_error"] - error) > TOLERANCE_SE:
            faults.append(f"{name}, {arm}: standard error {row['std_error']} is not {error}")
    return faults


if __name__ == "__main__":
    main(*sys.argv[1:3])

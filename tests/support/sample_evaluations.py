"""An evaluation of policies to look at; the numbers are made up and agree with one another."""

import math

from sample_contents import LOGIN
from wavewise.report.effects import EffectRow
from wavewise.report.evaluation import (
    CalibrationRow,
    ContrastRow,
    CurveRow,
    Evaluation,
    PolicyRow,
    SpendRow,
)


def measured(estimate: float, std_error: float, name: str = "") -> EffectRow:
    """An estimate with its normal interval."""
    p = math.erfc(abs(estimate) / std_error / math.sqrt(2)) if std_error else None
    width = 1.96 * std_error
    return EffectRow(name, estimate, std_error, estimate - width, estimate + width, p)


def curve(priority: str, height: float, *, causal: bool = True) -> CurveRow:
    """A ranking whose gain falls to nothing as everybody is messaged."""
    points = tuple(
        (i / 100, height * (1 - i / 100), 0.004 * math.sqrt(100 / i) * (1 - i / 101))
        for i in range(1, 101)
    )
    return CurveRow(
        priority, measured(height / 2, 0.003), measured(height / 6, 0.001), points, causal
    )


def spending(difference: float, std_error: float) -> tuple[SpendRow, ...]:
    """Gains at five shares messaged."""
    return tuple(
        SpendRow(
            share,
            measured(0.04 * share + difference * (1 - share), 0.003),
            measured(0.04 * share, 0.002),
            measured(difference * (1 - share), std_error),
        )
        for share in (0.1, 0.25, 0.5, 0.75, 1.0)
    )


def evaluation(
    *, gain: float = 0.004, std_error: float = 0.003, share_differs: float = 0.6
) -> Evaluation:
    """Four policies in which the forest beats the best message by `gain`."""
    return Evaluation(
        wave="phase-2",
        learned_on=("phase-1",),
        outcome=LOGIN,
        level=0.95,
        n_units=100_000,
        policies=(
            PolicyRow("best", "everybody gets parent+parent", measured(0.038, 0.003),
                      measured(0.037, 0.004), 0.0384),
            PolicyRow("forest", "the largest predicted effect", measured(0.038 + gain, 0.003),
                      measured(0.044, 0.004), 0.0441),
            PolicyRow("random", "one of 16 at random", measured(0.03, 0.002), None, 0.0301),
        ),
        contrasts=(
            ContrastRow("forest", "best", measured(gain, std_error), share_differs,
                        measured(gain + 0.001, 1.3 * std_error), 0.0057),
            ContrastRow("best", "random", measured(0.008, 0.003), 1.0,
                        "the policy random draws by chance", 0.0083),
        ),
        message="parent+parent",
        curves=(curve("forest", 0.03), curve("predicted outcome", -0.001, causal=False)),
        spending=spending(0.01, 0.002),
        calibration=(
            CalibrationRow("forest", measured(0.9, 0.2), tuple(
                (0.02 + 0.01 * i, 0.021 + 0.009 * i, 0.006, 20_000)
                for i in range(5)
            )),
        ),
        projection=(measured(-0.01, 0.002, "grade"),),
        ceiling=0.0538,
        baseline=0.36,
    )  # fmt: skip

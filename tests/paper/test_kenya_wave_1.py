"""The probability of 74 % after wave 1 does not follow from the published totals."""

import sys
from pathlib import Path

import numpy as np
import pytest

N_SPREADS = 24


def test_spreads_of_the_totals_give_about_89_percent(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repository / "examples" / "kenya-ivr"))
    import spreads

    try:
        way = "schools differ less (.3), parents differ"
        found = np.array([spreads.prob_best_after_wave_1(s, way) for s in range(N_SPREADS)])
    finally:
        for name in ("spreads", "make_data"):
            sys.modules.pop(name, None)
    error = found.std() / np.sqrt(N_SPREADS)
    # seven other ways to spread them, computed elsewhere, gave about 89 % too
    assert abs(found.mean() - 0.89) < 0.01 + 3 * error
    # 0.7414 is not within reach: at most one spread in 24, where 2 of 400 were seen
    assert (found <= spreads.PAPER).sum() <= 1

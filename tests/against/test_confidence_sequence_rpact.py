"""Planned looks beside R's rpact 3.3.4 (Debian), whose output is stored with its script."""

import re
from pathlib import Path

import numpy as np
import pytest

import wavewise as ww
from wavewise.estimate.adaptive.group_sequential import obrien_fleming

LINES = (Path(__file__).parent / "confidence_sequence" / "rpact.txt").read_text("utf-8")
BOUNDS = re.findall(r"^bounds (\S+) sizes ([\d ]+) two-sided (.+)$", LINES, re.M)


def numbers(text):
    return np.array(text.split(), dtype=float)


def test_version_that_was_run():
    assert LINES.startswith("R 4.2.2 rpact 3.3.4")
    assert len(BOUNDS) == 8


@pytest.mark.parametrize(("size", "sizes", "bounds"), BOUNDS)
def test_bounds(size, sizes, bounds):
    found = obrien_fleming(np.cumsum(numbers(sizes)), float(size))
    assert found == pytest.approx(numbers(bounds), abs=2e-5)  # rpact's own tolerance


def planned(y, arm, wave):
    return ww.estimate.confidence_sequence(
        y, arm, np.full((y.size, 2), 0.5), wave, method="planned", planned_sizes=[1] * 3
    )


def test_intervals_of_rates():
    """Miettinen and Nurminen's z by numerical likelihood, combined at rpact's critical values."""
    sizes, events = [(60, 40), (50, 50), (30, 70)], [(18, 14), (14, 22), (8, 33)]
    rows = [
        (w, a, i < events[w][a]) for w in range(3) for a in range(2) for i in range(sizes[w][a])
    ]
    wave, arm, y = np.array(rows).T
    found = planned(y, arm, wave)
    for k in range(3):
        low, middle, high = numbers(re.search(rf"^interval {k + 1} (.+)$", LINES, re.M)[1])
        # the script halves the likelihood to about 1e-6
        assert found.conf_int()[k, 2] == pytest.approx([low, high], abs=2e-5)
        assert found.estimate[k, 2] == pytest.approx(middle, abs=2e-5)


def test_intervals_of_means():
    """rpact's repeated intervals by Welch's t; ours adds two units of common variance."""
    sizes, means = [(110, 90), (80, 120), (140, 60)], [(0, 0.4), (0.2, 0.1), (0, 0.3)]
    y, arm, wave = [], [], []
    for w in range(3):
        for a in range(2):
            n = sizes[w][a]
            x = np.arange(n) - (n - 1) / 2
            y.append(means[w][a] + x / x.std(ddof=1))
            arm.append(np.full(n, a))
            wave.append(np.full(n, w))
    found = planned(*(np.concatenate(one) for one in (y, arm, wave)))
    low, high = re.search(r"^means low (.+) high (.+)$", LINES, re.M).groups()
    assert found.conf_low[:, 2] == pytest.approx(numbers(low), abs=2e-3)
    assert found.conf_high[:, 2] == pytest.approx(numbers(high), abs=2e-3)

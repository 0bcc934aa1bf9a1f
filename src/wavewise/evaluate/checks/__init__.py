"""Checks of data quality: each with its scope, verdict, number, sentence and what to do.

Functions on arrays, with no study at all; `wavewise analyze` and the report run those that a
study's data allow. `sample_ratio` and `balance` are those of `wavewise.randomize`.
"""

from wavewise.evaluate.checks.bounds import attrition_bounds
from wavewise.evaluate.checks.clusters import implausible_clusters
from wavewise.evaluate.checks.deliveries import late_deliveries
from wavewise.evaluate.checks.digit_heaping import heaping
from wavewise.evaluate.checks.dose import dose_by_arm
from wavewise.evaluate.checks.drift import control_drift
from wavewise.evaluate.checks.missing import missing_outcomes
from wavewise.randomize import balance, sample_ratio

__all__ = [
    "attrition_bounds",
    "balance",
    "control_drift",
    "dose_by_arm",
    "heaping",
    "implausible_clusters",
    "late_deliveries",
    "missing_outcomes",
    "sample_ratio",
]

"""Simulated worlds with a known truth, for the demonstration, for tests and for design."""

from wavewise.simulated.families import FamilyWorld, Season, simulate_families
from wavewise.simulated.reading import ReadingWorld, simulate_reading_calls
from wavewise.simulated.reading_scores import ScoreTruth, simulate_reading_scores

__all__ = [
    "FamilyWorld",
    "ReadingWorld",
    "ScoreTruth",
    "Season",
    "simulate_families",
    "simulate_reading_calls",
    "simulate_reading_scores",
]

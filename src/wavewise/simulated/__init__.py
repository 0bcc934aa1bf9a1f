"""Simulated worlds with a known truth, for the demonstration, for tests and for design."""

from wavewise.simulated.families import FamilyWorld, simulate_families

__all__ = ["FamilyWorld", "simulate_families"]

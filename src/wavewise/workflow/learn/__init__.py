"""Analyze, decide, evaluate."""

"""Nearest-neighbour matching: effects by covariates."""

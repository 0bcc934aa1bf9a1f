"""Causal forest: effects by covariates."""

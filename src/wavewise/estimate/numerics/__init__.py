"""Numerical methods that several estimators share."""

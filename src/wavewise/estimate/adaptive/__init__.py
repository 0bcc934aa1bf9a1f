"""Estimates from data whose shares were learned on the way, and the arm that came out best."""

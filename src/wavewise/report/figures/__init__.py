"""Figures of a report: one Vega-Lite specification each, as plain dictionaries."""

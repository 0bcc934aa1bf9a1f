"""Designs compared on simulated experiments."""

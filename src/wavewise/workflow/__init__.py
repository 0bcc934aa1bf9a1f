"""Joins the pure code to files, clock and database: one function per verb."""

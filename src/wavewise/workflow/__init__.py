"""Joins the pure code to the world: files, clock, database. One file a verb of the command line."""

"""What a rule is worth on fresh data, never on the data that taught it."""

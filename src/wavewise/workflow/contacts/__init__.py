"""Contact details, keys, opt-outs."""

"""A team around one study: who may come in, what was done by whom, long steps."""

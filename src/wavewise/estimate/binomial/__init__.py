"""The hierarchical model of counts of successes: arms within clusters."""

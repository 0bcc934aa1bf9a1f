"""The hierarchical model of scores: arms, units, clusters, periods."""

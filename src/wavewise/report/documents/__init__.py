"""Pages other than the report: registry entry, analysis plan, design, comparison of contexts."""

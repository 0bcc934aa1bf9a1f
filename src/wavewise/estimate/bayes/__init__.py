"""Beta-binomial posteriors, and decision quantities from posterior draws."""

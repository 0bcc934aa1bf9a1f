"""Open and close waves, take in what happened, export."""

"""Queue and deliver messages."""

"""What became of messages: receipts as they came, and what is asked of the outbox."""

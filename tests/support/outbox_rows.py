"""Messages for an outbox, as the queue writes them."""

import polars as pl


def queued(units: list[str], arms: list[str], wave: str = "one", channel: str = "sms"):
    """One message a unit and slot 0."""
    n = len(units)
    return pl.DataFrame(
        {
            "wave_id": [wave] * n,
            "unit_id": units,
            "slot": [0] * n,
            "message_key": [f"key-{channel}-{unit}" for unit in units],
            "arm": arms,
            "message_id": arms,
            "channel": [channel] * n,
            "content_json": ["{}"] * n,
            "time_zone": ["America/Lima"] * n,
            "due_at_utc_us": [1_000] * n,
            "next_at_utc_us": [1_000] * n,
            "state": ["queued"] * n,
        }
    )

"""One line of JSON per thing that matters, on standard error, for whoever watches a process."""

import json
import sys
from datetime import UTC, datetime

__all__ = ["log"]


def log(event: str, **facts: str | float | bool | None) -> None:
    """Tell that something happened; facts name no unit and no address.

    Examples
    --------
    >>> log("channel held", channel="sms", reason="the provider cannot be reached")
    """
    line = {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z", "event": event, **facts}
    print(json.dumps(line, ensure_ascii=False), file=sys.stderr, flush=True)

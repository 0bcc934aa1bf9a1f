"""A clock that a test sets, for every verb of the command line."""

from datetime import datetime

import pytest

import wavewise.workflow.study as study_module


class Clock:
    """Tells the time that it was given."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def use_clock(patch: pytest.MonkeyPatch, now: datetime) -> Clock:
    """From here on studies open with this clock."""
    clock = Clock(now)
    patch.setattr(study_module, "utc_now", clock)
    return clock

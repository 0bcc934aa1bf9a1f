"""Who may do what, in one table; and which steps may need a second person."""

from collections.abc import Mapping

from wavewise.design.spec import Step
from wavewise.server.pages.routes import Right

__all__ = ["RIGHTS", "RIGHT_OF_STEP", "STEP_OF"]

_EVERYBODY: frozenset[Right] = frozenset({"open", "see"})
RIGHTS: Mapping[str, frozenset[Right]] = {
    "owner": _EVERYBODY
    | {"edit", "field", "send", "freeze", "export", "erase", "keys", "accounts"},
    # writes the plan, draws, closes, decides and takes research data out; sees no contact details
    "analyst": _EVERYBODY | {"edit", "freeze", "export"},
    # knows the people and the messages; decides nothing
    "field": _EVERYBODY | {"field", "send"},
    "viewer": _EVERYBODY,
}

# Which step of `[team] second_person` a verb is; the others need nobody else.
STEP_OF: Mapping[str, Step] = {
    "register": "register",
    "amend": "register",
    "wave_open": "open",
    "enrol_open": "open",
    "wave_discard": "open",
    "outbox_resume": "send",
    "outbox_resend": "send",
    "outbox_retry": "send",
    "send": "send",
    "wave_close": "close",
    "wave_reopen": "close",
    "decide": "decide",
    "erase": "erase",
}
# The right that both people need.
RIGHT_OF_STEP: Mapping[str, Right] = {
    "register": "freeze",
    "open": "freeze",
    "close": "freeze",
    "decide": "freeze",
    "send": "send",
    "erase": "erase",
}

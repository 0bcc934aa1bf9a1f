"""One call through a flow: which prompt plays, what a key does, what is recorded.

Nothing here knows what carries the call. A state is a value, so a provider that asks over HTTP for
the next step and a telephone line in this process follow the same code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wavewise.design.messages import Collect, Flow, FlowStep
from wavewise.errors import InputError
from wavewise.fieldwork.channels.base import CallEvent

__all__ = ["HANG_UP", "MOST_WRONG_KEYS", "Call", "Script", "make_script"]

HANG_UP = "hang up"
END_OF_NUMBER = "#"
# A wrong key plays the prompt again; the third counts as no key at all, so that a call ends.
MOST_WRONG_KEYS = 3
# Announcements that lead on to each other must reach a key or an end within so many steps.
MOST_ANNOUNCEMENTS = 100


@dataclass(frozen=True)
class ScriptStep:
    """One step with its prompt written out for one unit."""

    prompt: str
    keys: Mapping[str, str]
    timeout_seconds: float
    on_timeout: str
    event: str | None = None
    collect: Collect | None = None
    action: str | None = None

    @property
    def is_announcement(self) -> bool:
        """Whether it only plays, and goes on without waiting for a key."""
        return not self.keys and self.collect is None


@dataclass(frozen=True)
class Script:
    """A call flow written out for one unit and one send."""

    name: str  # The flow's name.
    start: str  # Name of the first step.
    steps: Mapping[str, ScriptStep]  # Steps by name.

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names of the prompts that the call may play, each once, in the order of the steps."""
        return tuple(dict.fromkeys(step.prompt for step in self.steps.values()))


@dataclass(frozen=True)
class Call:
    """Where a call is: the step that plays now, and what it recorded so far.

    Examples
    --------
    >>> from wavewise.design.messages import Flow
    >>> flow = Flow.model_validate(
    ...     {
    ...         "start": "hello",
    ...         "steps": {
    ...             "hello": {"prompt": "hello.wav", "keys": {"1": "read"}},
    ...             "read": {"prompt": "{level}/{set}.wav", "event": "exercises_started"},
    ...         },
    ...     }
    ... )
    >>> call = Call.begin(make_script("reading", flow, {"level": "basic", "set": "3"}))
    >>> call.prompt, call.press("1").prompt, [r.event for r in call.press("1").records]
    ('hello.wav', 'basic/3.wav', ['exercises_started'])
    >>> call.press("1").is_over, call.press("1").prompt_ended().is_over
    (False, True)
    """

    script: Script  # What the call follows.
    step: str  # Name of the step that plays, or "hang up".
    records: tuple[CallEvent, ...] = ()  # What was recorded, in order.
    digits: str = ""  # Digits of a number that is being typed, or was typed last.
    wrong_keys: int = 0  # Wrong keys since the step began.

    @classmethod
    def begin(cls, script: Script) -> "Call":
        """The call when it has been answered."""
        return cls(script, HANG_UP).go(script.start)

    @classmethod
    def at(cls, script: Script, step: str, digits: str = "", wrong_keys: int = 0) -> "Call":
        """The call as a provider reports it back: at a step, with what was typed so far."""
        if step != HANG_UP and step not in script.steps:
            raise InputError(
                f"call flow {script.name!r}: found step {step!r}; needed one of its steps "
                f"({', '.join(script.steps)})"
            )
        return cls(script, step, digits=digits, wrong_keys=wrong_keys)

    @property
    def is_over(self) -> bool:
        """Whether nothing plays any more."""
        return self.step == HANG_UP

    @property
    def current(self) -> ScriptStep:
        """The step that plays now."""
        return self.script.steps[self.step]

    @property
    def prompt(self) -> str | None:
        """Name of the prompt that plays now."""
        return None if self.is_over else self.current.prompt

    def go(self, target: str) -> "Call":
        """The call at another step, with what reaching it records."""
        if target == HANG_UP:
            return replace(self, step=HANG_UP, wrong_keys=0)
        step = self.script.steps[target]
        records = self.records
        if step.event is not None or step.action is not None:
            number = self.digits if step.action == "change number" else None
            records = (*records, CallEvent(target, step.event, step.action, number))
        digits = "" if step.collect is not None else self.digits
        return replace(self, step=target, records=records, digits=digits, wrong_keys=0)

    def press(self, key: str) -> "Call":
        """The call after a key, which may come before the prompt has ended."""
        if self.is_over or self.current.is_announcement:
            return self
        if self.current.collect is not None:
            return self._type(key, self.current.collect)
        target = self.current.keys.get(key)
        return self._wrong_key() if target is None else self.go(target)

    def press_all(self, keys: str) -> "Call":
        """The call after several keys, as a provider reports a number at once."""
        call = self
        for key in keys:
            step = call.step
            call = call.press(key)
            if call.step != step:
                break
        if call.step == self.step and self.current.collect is not None:
            call = call.press(END_OF_NUMBER)
        return call

    def silence(self) -> "Call":
        """The call after the time for a key has run out."""
        return self if self.is_over else self.go(self.current.on_timeout)

    def prompt_ended(self) -> "Call":
        """The call after its prompt has played to the end: announcements go on, others wait."""
        if self.is_over or not self.current.is_announcement:
            return self
        return self.go(self.current.on_timeout)

    def _type(self, key: str, collect: Collect) -> "Call":
        if key.isdigit():
            typed = replace(self, digits=self.digits + key)
            return typed.go(collect.next) if len(typed.digits) >= collect.most else typed
        if key == END_OF_NUMBER and len(self.digits) >= collect.least:
            return self.go(collect.next)
        return replace(self._wrong_key(), digits="")

    def _wrong_key(self) -> "Call":
        wrong = self.wrong_keys + 1
        return self.silence() if wrong >= MOST_WRONG_KEYS else replace(self, wrong_keys=wrong)


def make_script(name: str, flow: Flow, fields: Mapping[str, str]) -> Script:
    """A flow with its prompts written out for one unit."""
    steps = {key: _written_out(name, key, step, fields) for key, step in flow.steps.items()}
    script = Script(name, flow.start, steps)
    for key in steps:
        _ends(script, key)
    return script


def _written_out(name: str, key: str, step: FlowStep, fields: Mapping[str, str]) -> ScriptStep:
    try:
        prompt = step.prompt.format_map(fields)
    except KeyError as error:
        raise InputError(
            f"call flow {name!r}, step {key!r}: found the field {error.args[0]!r} in the prompt; "
            f"needed one of {', '.join(sorted(fields)) or 'none'}; add it to the people file, or "
            "give the message a fallback"
        ) from None
    return ScriptStep(
        prompt=prompt,
        keys=step.keys,
        timeout_seconds=step.timeout_seconds,
        on_timeout=step.on_timeout,
        event=step.event,
        collect=step.collect,
        action=step.action,
    )


def _ends(script: Script, key: str) -> None:
    """Raise where announcements lead in a circle that no key can leave."""
    for _ in range(MOST_ANNOUNCEMENTS):
        step = script.steps[key]
        if not step.is_announcement or step.on_timeout == HANG_UP:
            return
        key = step.on_timeout
    raise InputError(
        f"call flow {script.name!r}: found steps without keys that follow each other for ever; "
        'needed a step with keys, or on_timeout = "hang up"'
    )

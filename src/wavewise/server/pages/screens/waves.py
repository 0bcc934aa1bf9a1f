"""A wave from its opening to what follows from it."""

from collections.abc import Mapping, Sequence
from typing import Any

from wavewise.design.spec import StudySpec
from wavewise.errors import InputError, WavewiseError
from wavewise.report import numbers
from wavewise.server.pages import languages
from wavewise.server.pages.languages import N_, word
from wavewise.server.pages.languages import gettext as _
from wavewise.server.pages.routes import Answer, Go, Screen, Visit, screen, step
from wavewise.workflow.learn.three_answers import ThreeAnswer, arm_labels, three_answers
from wavewise.workflow.standing import Standing, WaveStanding

AT_ONCE = 5_000  # People up to whose number the launch checks are made whenever they are looked at.


def _wave(visit: Visit) -> tuple[Standing, WaveStanding, Any]:
    """The study, the wave of the address, and its plan."""
    standing: Standing = visit.study.standing
    wave = standing.wave(visit.names["wave"])
    if wave is None:
        raise InputError("found no wave of this name; needed one of the study file")
    return standing, wave, visit.study.spec.wave(wave.id)


# Open: everything that is checked before, then one button.


@screen("/studies/{study}/open/{wave}", verb="wave_open")
def opening(visit: Visit) -> Answer:
    """May the wave open."""
    standing, wave, plan = _wave(visit)
    wanted = standing.n_units <= AT_ONCE or visit.request.query_params.get("check") == "1"
    drawn, problem = None, None
    waits = _what_first(visit, standing, wave)
    if wave.state == "not open" and waits is None and wanted:
        accept = {"accept_late": True, "accept_incomplete": visit.form.has("accept_incomplete")}
        try:
            drawn = visit.study.wave_open(wave.id, dry_run=True, **accept)
        except WavewiseError as error:
            problem = error
    return Screen(
        "open.html",
        {
            "standing": standing,
            "wave": wave,
            "plan": plan,
            "waits": waits,
            "wanted": wanted,
            "problem": problem,
            "drawn": drawn,
            "counts": [] if drawn is None else _counts(visit, plan, drawn.counts),
            "is_late": drawn is not None
            and bool(drawn.due)
            and all(x["is_late"] for x in drawn.due),
            "n_messaged": 0 if drawn is None else _n_messaged(plan, drawn.counts),
            "command": f"wavewise wave open {wave.id}",
        },
    )


def _what_first(visit: Visit, standing: Standing, wave: WaveStanding) -> Mapping[str, str] | None:
    """What has to be done before a wave can be looked at, and where."""
    if standing.version is None or standing.is_changed:
        text = (
            _("The plan is not registered.")
            if standing.version is None
            else _("The study file differs from the registered version.")
        )
        return {"text": text, "url": visit.url("register"), "word": _("Review registration")}
    if not standing.n_units:
        return {"text": _("Nobody is in the study."), "url": visit.url("people"),
                "word": _("Bring the people")}  # fmt: skip
    before = next((one for one in standing.waves if not one.is_done), wave)
    if before.id != wave.id and wave.state == "not open":
        text = _("%(wave)s is not done yet.") % {"wave": before.label}
        rest = "open" if before.state == "not open" else "decide"
        return {"text": text, "url": visit.url(f"{rest}/{before.id}"), "word": _("Go there")}
    return None


def _counts(visit: Visit, plan: Any, counts: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    labels = arm_labels(visit.study.spec, plan)
    return [
        (
            labels.get(one["arm"], one["arm"]),
            languages.count(one["n_units"]),
            languages.count(one.get("n_held_out") or 0),
            languages.fixed(one["expected"], 1),
        )
        for one in counts
    ]


def _n_messaged(plan: Any, counts: Sequence[Mapping[str, Any]]) -> int:
    return sum(
        int(one["n_units"]) - int(one.get("n_held_out") or 0)
        for one in counts
        if one["arm"] != plan.control_id
    )


@step("/studies/{study}/open/{wave}", "freeze", "wave_open", back="/studies/{study}/open/{wave}")
def open_wave(visit: Visit) -> Answer:
    """Draw the wave."""
    _standing, wave, _plan = _wave(visit)
    done = visit.do(
        "wave_open",
        wave.id,
        accept_late=visit.form.has("accept_late"),
        accept_incomplete=visit.form.has("accept_incomplete"),
    )
    text = _("%(wave)s is open: %(n)s were drawn.")
    said = text % {"wave": wave.label, "n": languages.count(done.n_units)}
    return Go(visit.url(f"field/{wave.id}"), said)


@step(
    "/studies/{study}/open/{wave}/discard",
    "freeze",
    "wave_discard",
    back="/studies/{study}/open/{wave}",
)
def discard_wave(visit: Visit) -> Answer:
    """Take a wave back of which nothing was sent."""
    visit.do("wave_discard", visit.names["wave"], visit.form.get("reason"))
    return Go(visit.url(f"open/{visit.names['wave']}"), _("The wave was taken back."))


# Field: what is due, sent, delivered; what fails and why.

_KEYS = ("delivered", "unknown", "failed", "waiting", "refused")


def _field_facts(visit: Visit) -> Mapping[str, Any]:
    standing, wave, plan = _wave(visit)
    found = visit.study.status(counts=True).facts() if wave.state != "not open" else None
    rows = [] if found is None else [r for r in found["deliveries"] if r["wave"] == wave.id]
    total = {
        key: sum(int(row[key]) for row in rows) for key in (*_KEYS, "due", "sent", "cancelled")
    }
    total["on the way"] = max(total["sent"] - total["delivered"], 0)
    labels = arm_labels(visit.study.spec, plan)
    failures: dict[tuple[str, str], int] = {}
    for one in [] if found is None else found["failures"]:
        if one["wave"] == wave.id:
            key = (one["state"], one["reason"])
            failures[key] = failures.get(key, 0) + int(one["n"])
    paused = [] if found is None else found["paused"]
    return {
        "standing": standing,
        "wave": wave,
        "plan": plan,
        "found": found,
        "total": total,
        "bar": _bar(total),
        "rows": [
            (
                labels.get(r["arm"], r["arm"]),
                *(languages.count(r[k]) for k in ("due", "sent", *_KEYS)),
            )
            for r in rows
        ],
        "failures": sorted(((n, *key) for key, n in failures.items()), reverse=True),
        "is_paused": wave.id in paused or "" in paused,
        "held": [] if found is None else found["held"],
        "command": "wavewise outbox pause" if wave.state == "open" else "wavewise status",
    }


def _bar(total: Mapping[str, int]) -> list[tuple[str, float, float]]:
    """Parts of the bar: class, begin and width in percent."""
    parts = (
        ("f1", total["delivered"]),
        ("f2", total["on the way"] + total["unknown"]),
        ("f3", total["failed"]),
        ("f4", total["waiting"]),
        ("f5", total["refused"] + total["cancelled"]),
    )
    whole = sum(n for _name, n in parts)
    shown, begin = [], 0.0
    for name, n in parts:
        width = 100 * n / whole if whole else 0.0
        if n:
            shown.append((name, round(begin, 2), round(max(width - 0.2, 0.1), 2)))
        begin += width
    return shown


@screen("/studies/{study}/field/{wave}", verb="status")
def field(visit: Visit) -> Answer:
    """Is it running as planned."""
    return Screen("field.html", _field_facts(visit))


@screen("/studies/{study}/field/{wave}/counts", verb="status")
def field_counts(visit: Visit) -> Answer:
    """The counts alone, asked for anew every few seconds."""
    return Screen("field_counts.html", _field_facts(visit))


def _outbox(visit: Visit, verb: str, said: str, *arguments: str) -> Answer:
    visit.do(verb, *arguments, wave=visit.names["wave"])
    return Go(visit.url(f"field/{visit.names['wave']}"), said)


_FIELD = "/studies/{study}/field/{wave}"


@step(f"{_FIELD}/pause", "field", "outbox_pause", back=_FIELD)
def pause(visit: Visit) -> Answer:
    """Stop sending immediately."""
    return _outbox(visit, "outbox_pause", _("Sending is paused; what waits stays in line."))


@step(f"{_FIELD}/resume", "field", "outbox_resume", back=_FIELD)
def resume(visit: Visit) -> Answer:
    """Send again."""
    return _outbox(visit, "outbox_resume", _("Sending goes on."))


@step(f"{_FIELD}/retry", "field", "outbox_retry", back=_FIELD)
def retry(visit: Visit) -> Answer:
    """Try again what failed for a reason."""
    return _outbox(visit, "outbox_retry", _("They are tried again."), visit.form.get("reason"))


@step(f"{_FIELD}/cancel", "send", "outbox_cancel", back=_FIELD)
def cancel(visit: Visit) -> Answer:
    """Cancel what is not sent yet, for good."""
    if not visit.form.has("sure"):
        raise InputError("it cannot be undone; needed the box ticked that says you know it")
    return _outbox(visit, "outbox_cancel", _("What was not sent was cancelled."))


@step(f"{_FIELD}/send", "send", "send", back=_FIELD)
def send_now(visit: Visit) -> Answer:
    """Send what is due now."""
    done = visit.do("send", key_file=visit.studies.key_file)
    return Go(visit.url(f"field/{visit.names['wave']}"), done.summary()[:500])


# Close and decide: the data, then what follows.


@screen("/studies/{study}/decide/{wave}", verb="decide")
def deciding(visit: Visit) -> Answer:
    """What follows from a wave."""
    standing, wave, plan = _wave(visit)
    spec, found, problem = visit.study.spec, None, None
    if wave.state == "open":
        try:
            found = visit.study.data_check(wave=wave.id)
        except WavewiseError as error:
            problem = error
    findings = [] if found is None else sorted(found.findings, key=lambda f: _WORST[f.verdict])
    scale = numbers.scale_of(spec.primary)
    return Screen(
        "decide.html",
        {
            "standing": standing,
            "wave": wave,
            "plan": plan,
            "waits": _what_first(visit, standing, wave) if wave.state == "not open" else None,
            "findings": findings,
            "failing": [f for f in findings if f.verdict == "fail" and f.name in _CLOSING],
            "problem": problem,
            "too_early": wave.window_ends is not None and visit.now < wave.window_ends,
            "early_wait": wave.close_planned is not None and visit.now < wave.close_planned,
            "effects": effects_of(spec, plan, wave),
            "answers": answers_of(spec, plan, wave),
            "decision": _decided(visit, wave),
            "outcome": spec.primary.name,
            "unit": word(scale.short_unit),
            "unit_in_words": word(scale.effect_unit),
            "next_verb": _next_verb(wave),
            "command": _command(wave),
        },
    )


_WORST = {"fail": 0, "warn": 1, "none": 2, "pass": 3}
_CLOSING = ("event-kinds", "unmatched-ids", "event-dates")


def _command(wave: WaveStanding) -> str:
    verb = _next_verb(wave)
    return "wavewise report" if verb == "report" else f"wavewise {verb.replace('_', ' ')} {wave.id}"


def _next_verb(wave: WaveStanding) -> str:
    """What is to be done about a wave next."""
    if wave.state != "closed":
        return "wave_close"
    if wave.analysis is None:
        return "analyze"
    if wave.needs_decision and wave.decision is None:
        return "decide"
    if wave.needs_evaluation and wave.evaluation is None:
        return "evaluate"
    return "report"


def answers_of(spec: StudySpec, plan: Any, wave: WaveStanding) -> list[Mapping[str, Any]]:
    """The three answers of a wave as they are printed; none where it tested no policies."""
    if wave.evaluation is None:
        return []
    scale = numbers.scale_of(spec.primary)
    return [_shown(one, scale) for one in three_answers(spec, plan, wave.evaluation)]


def _shown(one: ThreeAnswer, scale: numbers.Scale) -> Mapping[str, Any]:
    """An answer with its numbers as they are printed."""
    questions = {"which": _("Which?"), "for whom": _("For whom?"), "whether": _("Whether?")}
    places = scale.decimals(one.std_error)

    def printed(value: float) -> str:
        return languages.signed(scale.factor * value, places)

    return {
        "question": questions[one.question],
        "choice": word(one.choice),
        "other": word(one.other),
        "big": printed(one.gain),
        "low": printed(one.conf_low),
        "high": printed(one.conf_high),
        "chance": languages.percent(one.prob_error, 1)
        if one.prob_error >= 0.0005
        else _("under %(share)s") % {"share": languages.percent(0.001, 1)},
        "loss": languages.fixed(scale.factor * one.expected_loss, 3),
        "apart": one.is_told_apart,
        "estimator": word(one.estimator),
        "strip": _strip(one.gain, one.conf_low, one.conf_high),
    }


def _strip(gain: float, low: float, high: float) -> Mapping[str, float]:
    """An interval with 0 in it, in percent of a width."""
    first, last = min(low, 0.0), max(high, 0.0)
    width = (last - first) or 1.0

    def at(value: float) -> float:
        return float(round(4 + 92 * (value - first) / width, 2))

    return {"zero": at(0.0), "low": at(low), "high": at(high), "gain": at(gain)}


_ESTIMATORS = {"ols": N_("ordinary least squares")}


def effects_of(spec: StudySpec, plan: Any, wave: WaveStanding) -> Mapping[str, Any] | None:
    """Effects on the main outcome, the largest first, as rows of a figure in a table."""
    if wave.analysis is None:
        return None
    found = next((e for e in wave.analysis["effects"] if e["outcome"] == spec.primary.id), None)
    rows = [] if found is None else [r for r in found["rows"] if r["estimate"] is not None]
    if not rows or found is None:
        return None
    scale, labels = numbers.scale_of(spec.primary), arm_labels(spec, plan)
    first = min(0.0, *(row["conf_low"] for row in rows))
    last = max(0.0, *(row["conf_high"] for row in rows))

    def at(value: float) -> float:
        return float(round(2 + 96 * (value - first) / ((last - first) or 1.0), 2))

    ranked = sorted(rows, key=lambda row: -spec.primary.sign * row["estimate"])
    places = scale.decimals(min(row["std_error"] for row in rows))
    return {
        "zero": at(0.0),
        "outcome": spec.primary.name,
        "unit": word(scale.effect_unit),
        "short": word(scale.short_unit),
        "estimator": _(_ESTIMATORS.get(found["estimator"], found["estimator"])),
        "level": languages.percent(found["level"], 0),
        "rows": [
            {
                "label": labels.get(row["arm"], row["arm"]),
                "low": at(row["conf_low"]),
                "high": at(row["conf_high"]),
                "at": at(row["estimate"]),
                "estimate": languages.signed(scale.factor * row["estimate"], places),
                "interval": f"{languages.signed(scale.factor * row['conf_low'], places)} "
                f"{_('to')} {languages.signed(scale.factor * row['conf_high'], places)}",
            }
            for row in ranked
        ],
    }


def _decided(visit: Visit, wave: WaveStanding) -> list[tuple[str, str]]:
    """What was decided from a wave, line by line."""
    found = wave.decision
    if found is None:
        return []
    spec = visit.study.spec
    if "policies" in found:
        following = spec.wave(found["for_wave"])
        labels = {} if following is None else arm_labels(spec, following)
        return [
            (labels.get(k, k), f"{p['text']}; SHA-256 {p['hash'][:12]}…")
            for k, p in found["policies"].items()
        ]
    if "shares" in found:
        return [(arm, languages.percent(share, 1)) for arm, share in found["shares"].items()]
    return [(_("Chosen"), str(found.get("arm", "")))]


_DECIDE = "/studies/{study}/decide/{wave}"


def _back(visit: Visit, said: str) -> Answer:
    """The wave's screen again, with what was done."""
    return Go(visit.url(f"decide/{visit.names['wave']}"), said)


@step(f"{_DECIDE}/close", "freeze", "wave_close", back=_DECIDE)
def close_wave(visit: Visit) -> Answer:
    """Freeze the outcomes."""
    accepted = visit.form.several.get("accept", [])
    visit.do(
        "wave_close", visit.names["wave"], accept=accepted or None, reason=visit.form.get("reason")
    )
    return _back(visit, _("Its outcomes are frozen."))


@step(f"{_DECIDE}/analyze", "edit", "analyze", back=_DECIDE)
def analyze(visit: Visit) -> Answer:
    """Estimate effects."""
    visit.do("analyze", visit.names["wave"])
    return _back(visit, _("Effects were estimated."))


@step(f"{_DECIDE}/decide", "freeze", "decide", back=_DECIDE)
def decide(visit: Visit) -> Answer:
    """Freeze what follows from the wave."""
    visit.do("decide", visit.names["wave"])
    return _back(visit, _("What follows is frozen."))


@step(f"{_DECIDE}/evaluate", "edit", "evaluate", back=_DECIDE)
def evaluate(visit: Visit) -> Answer:
    """What the policies are worth on fresh outcomes."""
    visit.do("evaluate", visit.names["wave"])
    return _back(visit, _("The policies were valued."))


@step(f"{_DECIDE}/reopen", "freeze", "wave_reopen", back=_DECIDE)
def reopen(visit: Visit) -> Answer:
    """Set the outcomes of a closed wave aside."""
    visit.do("wave_reopen", visit.names["wave"], visit.form.get("reason"))
    return _back(visit, _("Its outcomes were set aside."))

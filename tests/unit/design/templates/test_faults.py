"""Every kind of fault, each with its path, what was found, what was needed, what to do."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from wavewise.design import find_faults, parse_spec
from wavewise.design.templates import template_names, template_text
from wavewise.errors import SpecError, exit_code

Change = Callable[[dict[str, Any]], None]


def _base() -> dict[str, Any]:
    return tomllib.loads("""
        [study]
        id = "small"
        title = "Small"
        seed = 1
        time_zone = "UTC"
        [units]
        id = "person"
        strata = ["town"]
        fields = ["name"]
        address = { sms = "phone" }
        [[messages]]
        id = "a"
        channel = "sms"
        text.en = "Hello {name}"
        [[messages]]
        id = "b"
        channel = "sms"
        text.en = "Good day"
        [schedules.weekly]
        days = ["mon", "thu"]
        at = "17:00"
        weeks = 2
        quiet_hours = ["21:00", "07:00"]
        [[outcomes]]
        id = "login"
        primary = true
        kind = "any"
        event = "login"
        [[outcomes]]
        id = "minutes"
        kind = "sum"
        event = "session"
        value = "minutes"
        [models.logins]
        kind = "beta binomial"
        outcome = "login"
        [[waves]]
        id = "one"
        starts = 2023-10-09
        window_days = 14
        schedule = "weekly"
        control_share = 0.2
        arms = ["a", "b"]
        [[waves]]
        id = "two"
        starts = 2023-10-30
        window_days = 14
        schedule = "weekly"
        control_share = "1/5"
        arms = ["a", "b"]
        shares = { rule = "exploration", model = "logins", learned_on = "one" }
        [analysis]
        contrasts = [["a", "b"]]
        [planning]
        n_units = 100
        baseline = { login = { mean = 0.3 } }
    """)


def _set(*path: Any) -> Change:
    """A change of one value: the path to it, then the value."""
    *parents, key, value = path

    def change(raw: dict[str, Any]) -> None:
        for part in parents:
            raw = raw[part]
        raw[key] = value

    return change


def _drop(*path: Any) -> Change:
    *parents, key = path

    def change(raw: dict[str, Any]) -> None:
        for part in parents:
            raw = raw[part]
        del raw[key]

    return change


def _repeat(section: str) -> Change:
    return lambda raw: raw[section].append(raw[section][0])


FAULTS: dict[str, tuple[Change, str, str]] = {
    # name: (change, path, a part of the text)
    "unknown section": (_set("wave", []), "wave", "did you mean 'waves'?"),
    "unknown key": (_set("study", "titel", "x"), "study.titel", "did you mean 'title'?"),
    "unknown key, nothing near": (_set("study", "zzz", 1), "study.zzz", "take it out"),
    "unknown key in a listed arm": (
        _set("waves", 0, "arms", 0, {"id": "a", "mesage": "a"}),
        "waves['one'].arms[1].mesage",
        "did you mean 'message'?",
    ),
    "unknown key in a rule": (
        _set("waves", 1, "shares", "modle", "logins"),
        "waves['two'].shares.modle",
        "did you mean 'model'?",
    ),
    "missing section": (_drop("outcomes"), "outcomes", "add [[outcomes]]"),
    "missing section that is a table": (_drop("study"), "study", "add [study]"),
    "missing key": (_drop("study", "seed"), "study.seed", "add this key"),
    "empty list": (_set("waves", []), "waves", "at least one entry"),
    "section of a wrong type": (_set("waves", {"one": 1}), "waves", "write [[waves]]"),
    "table of a wrong type": (_set("models", 3), "models", "write [models.NAME]"),
    "entry of a wrong type": (_set("waves", 0, "x"), "waves[1]", "a table"),
    "bad name of a table": (_set("models", "two words", {}), "models.two words", "a short name"),
    "id that is no name": (_set("waves", 0, "id", ["x"]), "waves[1].id", "a short name"),
    "bad identifier": (_set("messages", 0, "id", "a b"), "messages['a b'].id", "a short name"),
    "text for a number": (_set("study", "seed", "many"), "study.seed", "integer"),
    "number for a text": (_set("study", "title", 3), "study.title", "text in quotes"),
    "unknown kind of outcome": (
        _set("outcomes", 0, "kind", "som"), "outcomes['login'].kind", "did you mean 'sum'?"),
    "unknown channel": (_set("messages", 0, "channel", "fax"), "messages['a'].channel", "one of"),
    "unknown time zone": (
        _set("study", "time_zone", "Lima"), "study.time_zone", "IANA time zone"),
    "bad time": (_set("schedules", "weekly", "at", "5pm"), "schedules.weekly.at", "time of day"),
    "bad date": (_set("waves", 0, "starts", "soon"), "waves['one'].starts", "a date such as"),
    "share above 1": (
        _set("waves", 0, "control_share", 1.5), "waves['one'].control_share", "a share between"),
    "bad fraction": (
        _set("waves", 0, "control_share", "1/0"), "waves['one'].control_share", '"1/7"'),
    "level of 1": (_set("study", "level", 1), "study.level", "neither of them included"),
    "infinite number": (
        _set("planning", "baseline", "login", "mean", float("inf")),
        "planning.baseline.login.mean",
        "a finite number",
    ),
    "empty window": (_set("waves", 0, "window_days", 0), "waves['one'].window_days", "found 0"),
    "window that ends before it starts": (
        _set("waves", 0, "window_days", -3), "waves['one'].window_days", "found -3"),
    "window shorter than its schedule": (
        _set("waves", 0, "window_days", 7),
        "waves['one'].window_days",
        "7 days, to 2023-10-15, with the last message on 2023-10-19",
    ),
    "start in the window it learns from": (
        _set("waves", 1, "starts", "2023-10-20"), "waves['two'].starts", "start on 2023-10-23"),
    "waves out of order": (
        _set("waves", 1, "starts", "2022-10-20"), "waves['two'].starts", "order of time"),
    "weeks and sets": (_set("schedules", "weekly", "sets", 3), "schedules.weekly", "weeks or sets"),
    "a day twice": (
        _set("schedules", "weekly", "days", ["mon", "mon"]), "schedules.weekly.days", "differ"),
    "sending in the quiet hours": (
        _set("schedules", "weekly", "at", "22:00"), "schedules.weekly.at", "outside them"),
    "quiet hours of no length": (
        _set("schedules", "weekly", "quiet_hours", ["07:00", "07:00"]),
        "schedules.weekly.quiet_hours",
        "that differ",
    ),
    "no schedule": (_drop("waves", 0, "schedule"), "waves['one'].schedule", "messages go out"),
    "unknown schedule": (
        _set("waves", 0, "schedule", "daily"), "waves['one'].schedule", "('weekly')"),
    "too few days for a sequence": (
        _set("waves", 0, "arms", 0, {"id": "c", "messages": ["a", "b", "a"]}),
        "waves['one'].arms['c']",
        "3 messages for 2 days",
    ),
    "shares that do not sum to 1": (
        _set("waves", 0, "shares", {"a": 0.5, "b": 0.2}),
        "waves['one'].shares",
        "shares that sum to 0.7; needed 0.8 beside the control share",
    ),
    "shares that leave an arm out": (
        _set("waves", 0, "shares", {"a": 0.8}), "waves['one'].shares", "no share for 'b'"),
    "share of no arm": (
        _set("waves", 0, "shares", {"a": 0.5, "b": 0.2, "c": 0.1}),
        "waves['one'].shares",
        "found 'c'",
    ),
    "two shares of the control": (
        _set("waves", 0, "shares", {"a": 0.5, "b": 0.4, "control": 0.1}),
        "waves['one'].shares.control",
        "give it once",
    ),
    "shares by stratum": (
        _set("waves", 0, "shares", {"by_stratum": {"north": {"a": 0.5}}}),
        "waves['one'].shares.by_stratum['north']",
        "sum to 0.5",
    ),
    "control that is not an arm": (
        lambda raw: raw["waves"][0].update(control="nobody", control_share=None) or
        raw["waves"][0].pop("control_share"),
        "waves['one'].control",
        "found 'nobody'; needed an arm that the wave lists ('a', 'b')",
    ),
    "control that takes all": (
        _set("waves", 0, "control_share", 1.0), "waves['one'].control_share", "below 1"),
    "all of each arm held out": (
        _set("waves", 0, "held_out_share", 1.0), "waves['one'].held_out_share", "below 1"),
    "one arm": (
        lambda raw: (raw["waves"][0].pop("control_share"), raw["waves"][0].update(arms=["a"])),
        "waves['one'].arms",
        "at least 2 arms",
    ),
    "an arm twice": (_set("waves", 0, "arms", ["a", "a"]), "waves['one'].arms", "'a' 2 times"),
    "an arm without a message": (
        _set("waves", 0, "arms", ["a", "c"]), "waves['one'].arms['c']", "add it as [[messages]]"),
    "message and policy": (
        _set("waves", 1, "arms", 0,
             {"id": "c", "message": "a", "policy": {"rule": "best", "learned_on": "one"}}),
        "waves['two'].arms['c']",
        "message and policy",
    ),
    "policy learned on a later wave": (
        _set("waves", 0, "arms", 0, {"id": "c", "policy": {"rule": "best", "learned_on": "two"}}),
        "waves['one'].arms['c'].policy.learned_on",
        "a wave before 'one'",
    ),
    "policy learned on no wave": (
        _set("waves", 1, "arms", 0, {"id": "c", "policy": {"rule": "best", "learned_on": "x"}}),
        "waves['two'].arms['c'].policy.learned_on",
        "'x', which is no wave",
    ),
    "unknown rule": (
        _set("waves", 1, "shares", "rule", "explore"), "waves['two'].shares.rule", "exploration"),
    "rule without a model": (
        _drop("waves", 1, "shares", "model"), "waves['two'].shares.model", "a model ('logins')"),
    "rule with an unknown model": (
        _set("waves", 1, "shares", "model", "x"), "waves['two'].shares.model", "('logins')"),
    "rest in the first wave": (
        _set("waves", 0, "units", "rest"), "waves['one'].units", "'all', a share, or where"),
    "rest after all": (
        _set("waves", 1, "units", "rest"), "waves['two'].units", "after wave 'one' took all"),
    "units where of no column": (
        _set("waves", 0, "units", {"where": {"region": "x"}}), "waves['one'].units.where", "regio"),
    "names twice": (_repeat("messages"), "messages", "'a' 2 times"),
    "message without text": (_drop("messages", 0, "text"), "messages['a']", 'add text.en = "..."'),
    "unknown field in a text": (
        _set("messages", 0, "text", {"en": "{nme}"}), "messages['a'].text.en", "units.fields"),
    "brace that is not closed": (
        _set("messages", 0, "text", {"en": "{name"}), "messages['a'].text.en", "in braces"),
    "field without a name": (
        _set("messages", 0, "text", {"en": "{}"}), "messages['a'].text.en", "without a name"),
    "unknown field in a fixed field": (
        _set("messages", 0, "fields", {"x": "{y}"}), "messages['a'].fields.x", "{y}"),
    "fallback of no field": (
        _set("messages", 0, "fallback", {"x": "y"}), "messages['a'].fallback", "'x'"),
    "channel without an address": (
        _set("messages", 0, "channel", "push"), "messages['a'].channel", "units.address"),
    "unknown flow": (_set("messages", 0, "flow", "x"), "messages['a'].flow", "a call flow"),
    "levels of no stratum": (
        _set("units", "levels", {"x": ["y"]}), "units.levels.x", "a column of units.strata"),
    "derived from no column": (
        _set("derived", {"x": {"from": "y", "cut": {"a": [0, 1]}}}), "derived.x.from",
        "a column of [units]"),
    "derived from nothing": (_set("derived", {"x": {}}), "derived.x", "either `from`"),
    "derived from a column and from events": (
        _set("derived", {"x": {"from": "y", "event": "login", "cut": {"a": [0, 1]}}}), "derived.x",
        "either `from`"),
    "derived from a column without a cut": (
        _set("derived", {"x": {"from": "grade"}}), "derived.x", "`cut` beside `from`"),
    "days of a column": (
        _set("derived", {"x": {"from": "grade", "within_days": 7, "cut": {"a": [0, 1]}}}),
        "derived.x", "no within_days beside `from`"),
    "a cut of yes and no": (
        _set("derived", {"x": {"event": "login", "cut": {"a": [0, 1]}}}), "derived.x", "no `cut`"),
    "strata of no column": (
        _set("waves", 0, "strata", ["x"]), "waves['one'].strata", "a column of [units]"),
    "eligibility of no column": (
        _set("waves", 0, "where", {"x": 1}), "waves['one'].where", "a column of [units]"),
    "a baseline of no wave": (
        _set("planning", "baseline", {"login": {"x": {"mean": 0.4}}}), "planning.baseline.login",
        "the name of a wave"),
    "a baseline of a wave that is no share": (
        _set("planning", "baseline", {"login": {"one": {"mean": 3}}}),
        "planning.baseline.login.one.mean", "share"),
    "two primary outcomes": (
        _set("outcomes", 1, "primary", True), "outcomes", "2 primary outcomes"),
    "no primary outcome": (_drop("outcomes", 0, "primary"), "outcomes", "0 primary outcomes"),
    "outcome without an event": (
        _drop("outcomes", 0, "event"), "outcomes['login'].event", 'add event = "login"'),
    "sum of nothing": (_drop("outcomes", 1, "value"), "outcomes['minutes'].value", "added up"),
    "successes without trials": (
        _set("outcomes", 0, "kind", "successes"), "outcomes['login'].out_of", "number of trials"),
    "trials without successes": (
        _set("outcomes", 0, "out_of", 3), "outcomes['login'].out_of", "where there are trials"),
    "model of no outcome": (
        _set("models", "logins", "outcome", "x"), "models.logins.outcome", "an outcome"),
    "model that does not fit": (
        _set("models", "logins", "outcome", "minutes"), "models.logins.kind", "kind 'sum'"),
    "hierarchical model without clusters": (
        _set("models", "logins", "kind", "hierarchical binomial"), "models.logins.cluster", ""),
    "contrast of no arm": (
        _set("analysis", "contrasts", [["a", "x"]]), "analysis.contrasts", "found 'x'"),
    "contrast of three": (
        _set("analysis", "contrasts", [["a", "b", "a"]]), "analysis.contrasts[1]", ""),
    "targeting of no arm": (
        _set("analysis", "targeting", {"arm": "x"}), "analysis.targeting.arm", "found 'x'"),
    "covariate of no column": (
        _set("analysis", "effects", {"covariates": ["x"]}), "analysis.effects.covariates", "'x'"),
    "decision by no model": (
        _set("decision", {"model": "x", "learned_on": "one"}), "decision.model", "('logins')"),
    "decision on no wave": (
        _set("decision", {"model": "logins", "learned_on": "x"}), "decision.learned_on", "a wave"),
    "baseline of no outcome": (
        _set("planning", "baseline", {"x": {"mean": 1}}), "planning.baseline", "found 'x'"),
    "baseline of a binary outcome": (
        _set("planning", "baseline", "login", "mean", 3), "planning.baseline.login.mean", "share"),
    "clusters by half": (
        _set("planning", "cluster_size", 2), "planning", "both cluster_size and"),
}  # fmt: skip


def _wave_share(share: float, n_waves: int) -> Change:
    return lambda raw: [wave.update(units={"share": share}) for wave in raw["waves"][:n_waves]]


def test_the_base_has_no_fault() -> None:
    assert find_faults(_base()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_path(name: str) -> None:
    change, path, text = FAULTS[name]
    raw = _base()
    change(raw)
    faults = [fault for fault in find_faults(raw) if fault.path == path]
    assert faults, [str(fault) for fault in find_faults(raw)]
    assert any(text in str(fault) for fault in faults), [str(fault) for fault in faults]


@pytest.mark.parametrize("name", FAULTS)
def test_no_text_of_a_fault_shows_the_machinery(name: str) -> None:
    raw = _base()
    FAULTS[name][0](raw)
    for fault in find_faults(raw):
        assert not any(word in str(fault) for word in ("pydantic", "form: ", "Input should"))


def test_shares_of_the_units_above_1() -> None:
    raw = _base()
    _wave_share(0.6, 2)(raw)
    assert [fault.path for fault in find_faults(raw)] == ["waves"]


def test_all_faults_come_at_once() -> None:
    raw = _base()
    raw["study"]["titel"] = "x"
    raw["waves"][0] |= {"shares": {"a": 0.5, "b": 0.2}, "window_days": 7}
    raw["waves"][1] |= {"control": "nobody"}
    del raw["waves"][1]["control_share"]
    raw["outcomes"][1]["kind"] = "total"
    raw["messages"][0]["text"]["en"] = "{nme}"
    assert {fault.path for fault in find_faults(raw)} == {
        "study.titel",
        "waves['one'].shares",
        "waves['one'].window_days",
        "waves['two'].control",
        "outcomes['minutes'].kind",
        "messages['a'].text.en",
    }


def test_a_fault_in_one_entry_does_not_hide_or_make_others() -> None:
    """An unsound message still counts as defined, so the waves that use it have no fault."""
    raw = _base()
    raw["messages"][0]["channel"] = "fax"
    raw["outcomes"][0]["kind"] = "each"
    paths = [fault.path for fault in find_faults(raw)]
    assert paths == ["messages['a'].channel", "outcomes['login'].kind"]


def test_parse_raises_one_error_with_all_faults() -> None:
    text = template_text("peru-summer").replace('kind = "sum"', 'kind = "total"')
    text = text.replace("control_share = 0.20", "control_share = 20")
    with pytest.raises(SpecError, match="2 errors") as error:
        parse_spec(text)
    assert len(error.value.faults) == 2
    assert exit_code(error.value) == 3


def test_text_that_is_not_toml_names_the_place() -> None:
    with pytest.raises(SpecError, match="line 1, column") as error:
        parse_spec("[study\n")
    assert error.value.faults[0].path == "study.toml"


@pytest.mark.parametrize("flow_fault", ["start", "key", "timeout", "prompt"])
def test_faults_of_call_flows(flow_fault: str) -> None:
    raw = tomllib.loads(template_text("kenya-ivr"))
    flow = raw["flows"]["parent_led"]
    if flow_fault == "start":
        flow["start"] = "hello"
        path = "flows.parent_led.start"
    elif flow_fault == "key":
        flow["steps"]["exercise_1"]["keys"]["1"] = "exercise_9"
        path = "flows.parent_led.steps.exercise_1.keys.1"
    elif flow_fault == "timeout":
        flow["steps"]["greeting"]["on_timeout"] = "wait"
        path = "flows.parent_led.steps.greeting.on_timeout"
    else:
        flow["steps"]["greeting"]["prompt"] = "{shcool}.wav"
        path = "flows.parent_led.steps.greeting.prompt"
    assert [fault.path for fault in find_faults(raw)] == [path]


def test_faults_of_an_imported_wave() -> None:
    raw = tomllib.loads(template_text("get-out-the-vote"))
    raw["waves"][0]["imported"]["outcomes"] = {"turnout": "voted"}
    raw["waves"][0]["imported"]["arm_names"]["Self"] = "own"
    paths = {fault.path for fault in find_faults(raw)}
    assert paths == {
        "waves['august-2006'].imported.outcomes",
        "waves['august-2006'].imported.arm_names",
        "outcomes['voted'].event",
    }


@pytest.mark.parametrize("name", template_names())
def test_templates_have_no_fault(name: str) -> None:
    assert find_faults(tomllib.loads(template_text(name))) == []

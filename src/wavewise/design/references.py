"""Faults that show only between the entries of a study file: names, sums, order."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wavewise.design.enrolment import enrolment_faults
from wavewise.design.known import Known, listing, refer
from wavewise.design.messages import Flow, FlowStep, Message, placeholders
from wavewise.design.spec import Model, Outcome, Planning, Target
from wavewise.design.wave_references import (
    outcome_window_faults,
    period_faults,
    schedule_faults,
    wave_faults,
)
from wavewise.design.waves import Wave
from wavewise.errors import Fault

__all__ = ["reference_faults"]

SEND_FIELD = "set"  # in prompts: the number of the send
PHONE_KEYS = frozenset("0123456789*#")


def reference_faults(sound: Mapping[str, Any], raw: Mapping[str, Any]) -> list[Fault]:
    """Faults between entries."""
    known = Known(sound, raw)
    checks: tuple[Callable[[Known], Iterator[Fault]], ...] = (
        _repeated_names,
        _units,
        _messages,
        _flows,
        _outcomes,
        _targets,
        period_faults,
        schedule_faults,
        wave_faults,
        outcome_window_faults,
        enrolment_faults,
        _models,
        _plan,
        _planning,
    )
    return [fault for check in checks for fault in check(known)]


def _repeated_names(known: Known) -> Iterator[Fault]:
    for section in ("messages", "arms", "outcomes", "targets", "waves", "enrolment"):
        counts = Counter(entry.id for entry in known.entries(section))
        for name, count in counts.items():
            if count > 1:
                yield Fault(section, f"'{name}' {count} times", "names that differ", "rename one")


def _units(known: Known) -> Iterator[Fault]:
    units = known.sound.get("units")
    if units is None:
        return
    for column in units.levels:
        if column not in units.strata:
            yield Fault(f"units.levels.{column}", "levels", "a column of units.strata")
    rules = known.table("derived")
    sources = {*units.columns(), *(name for name, rule in rules.items() if rule.event is not None)}
    for name, rule in rules.items():
        if rule.from_ is not None and rule.from_ not in sources:
            needed = "a column of [units], or one that is derived from events"
            yield Fault(f"derived.{name}.from", f"'{rule.from_}'", needed)
        if rule.event is not None and name in (units.id, units.cluster, units.randomize_by):
            yield Fault(f"derived.{name}", "the column of ids or groups", "another name")


def _messages(known: Known) -> Iterator[Fault]:
    for message in known.entries("messages"):
        path = f"messages['{message.id}']"
        if message.flow is not None:
            yield from refer(f"{path}.flow", message.flow, known.names("flows"), "a call flow")
        if not message.text and message.flow is None and message.channel != "letter":
            yield Fault(path, "neither text nor flow", "what is to be sent", 'add text.en = "..."')
        yield from _message_fields(known, message, path)
        yield from _message_address(known, message, path)


def _message_fields(known: Known, message: Message, path: str) -> Iterator[Fault]:
    units = known.sound.get("units")
    if units is None:
        return
    outer = {*units.fields, *known.names("derived")}
    fields = {*outer, *message.fields}
    for language, text in message.text.items():
        yield from _text_fields(text, fields, f"{path}.text.{language}")
    for language, text in message.title.items():
        yield from _text_fields(text, fields, f"{path}.title.{language}")
    for name, text in message.fields.items():
        yield from _text_fields(text, outer, f"{path}.fields.{name}")
    for name in message.fallback:
        yield from refer(f"{path}.fallback", name, fields, "a field of the units")
    flow = known.table("flows").get(message.flow or "")
    for name, step in flow.steps.items() if flow is not None else ():
        place = f"flows.{message.flow}.steps.{name}.prompt"
        yield from _text_fields(step.prompt, {*fields, SEND_FIELD}, place)


def _text_fields(text: str, fields: set[str], place: str) -> Iterator[Fault]:
    """Faults of the per-unit fields in a text."""
    try:
        missing = [name for name in placeholders(text) if name not in fields]
    except ValueError as error:
        fix = "write numbers in the people file as they shall be read, and take the format out"
        is_format = "a format" in str(error)
        needed = "fields in braces, e.g. {child_name}"
        yield Fault(place, str(error), needed, fix if is_format else "")
        return
    for name in missing:
        fix = f"add '{name}' to units.fields, or take it out"
        yield Fault(place, f"{{{name}}}", f"a field of the units ({listing(fields)})", fix)


def _message_address(known: Known, message: Message, path: str) -> Iterator[Fault]:
    units = known.sound.get("units")
    if units is None or message.channel in {"letter", "file", "webhook"}:
        return
    if units.address and message.channel not in units.address:
        fix = f'add {message.channel} = "COLUMN" to units.address'
        yield Fault(f"{path}.channel", f"'{message.channel}'", "a channel of units.address", fix)


def _flows(known: Known) -> Iterator[Fault]:
    for name, flow in known.table("flows").items():
        yield from _flow(name, flow)


def _flow(name: str, flow: Flow) -> Iterator[Fault]:
    ends = {*flow.steps, "hang up"}
    if flow.start not in flow.steps:
        yield Fault(f"flows.{name}.start", f"'{flow.start}'", f"a step ({listing(flow.steps)})")
    for step_name, step in flow.steps.items():
        path = f"flows.{name}.steps.{step_name}"
        targets = {f"keys.{key}": target for key, target in step.keys.items()}
        targets["on_timeout"] = step.on_timeout
        if step.collect is not None:
            targets["collect.next"] = step.collect.next
            yield from _collect(step, path)
        for place, target in targets.items():
            if target not in ends:
                needed = f'a step or "hang up" ({listing(ends)})'
                yield Fault(f"{path}.{place}", f"'{target}'", needed)
        for key in step.keys:
            if key not in PHONE_KEYS:
                needed = "one key of a telephone, 0 to 9, * or #"
                yield Fault(f"{path}.keys.{key}", f"'{key}'", needed)
    if any(step.action == "change number" for step in flow.steps.values()) and not any(
        step.collect for step in flow.steps.values()
    ):
        needed = "a step with collect, in which the new number is typed"
        yield Fault(f"flows.{name}.steps", "action 'change number'", needed)


def _collect(step: FlowStep, path: str) -> Iterator[Fault]:
    """Faults of a step in which a number is typed."""
    if step.keys:
        yield Fault(f"{path}.keys", "keys beside collect", "either keys or collect")
    if step.collect is not None and step.collect.least > step.collect.most:
        found = f"least {step.collect.least} above most {step.collect.most}"
        yield Fault(f"{path}.collect", found, "least no larger than most")


def _outcomes(known: Known) -> Iterator[Fault]:
    outcomes: list[Outcome] = known.entries("outcomes")
    if outcomes and len(outcomes) == len(known.names("outcomes")):
        n_primary = sum(goal.primary for goal in (*outcomes, *known.entries("targets")))
        if n_primary > 1 or (n_primary == 0 and len(outcomes) > 1):
            found = f"{n_primary} primary outcomes"
            yield Fault("outcomes", found, "exactly one", "set primary = true in one of them")
    imported = {
        name for wave in known.entries("waves") if wave.imported for name in wave.imported.outcomes
    }
    for outcome in outcomes:
        yield from _outcome(outcome, f"outcomes['{outcome.id}']", outcome.id in imported)


def _outcome(outcome: Outcome, path: str, imported: bool) -> Iterator[Fault]:
    if outcome.event is None and outcome.kind != "score" and not imported:
        yield Fault(
            f"{path}.event", "nothing", "the kind of event that counts", 'add event = "login"'
        )
    if outcome.kind == "sum" and outcome.value is None and not imported:
        yield Fault(f"{path}.value", "nothing", "what is added up", 'add value = "minutes"')
    if outcome.at_least > 1 and outcome.kind != "any":
        yield Fault(f"{path}.at_least", f"kind '{outcome.kind}'", "kind 'any' beside it")
    if outcome.kind == "successes" and outcome.out_of is None:
        yield Fault(f"{path}.out_of", "nothing", "the number of trials", 'add out_of = 9 or "sets"')
    if outcome.kind != "successes" and outcome.out_of is not None:
        yield Fault(
            f"{path}.out_of", str(outcome.out_of), 'kind "successes" where there are trials'
        )


def _targets(known: Known) -> Iterator[Fault]:
    for target in known.entries("targets"):
        path = f"targets['{target.id}']"
        if target.id in known.names("outcomes"):
            yield Fault(f"{path}.id", "the id of an outcome", "names that differ", "rename it")
        if not target.parts:
            fix = 'add outcomes = ["..."], or weights'
            yield Fault(f"{path}.outcomes", "nothing", "the outcomes that it is made of", fix)
        for name in dict.fromkeys((*target.outcomes, *target.weights)):
            yield from refer(f"{path}.outcomes", name, known.names("outcomes"), "an outcome")
        if target.weights:
            yield from _target_weights(target, path)
        elif target.kind == "weighted" and target.parts:
            example = ", ".join(f"{name} = 1" for name in target.parts)
            fix = f"add weights = {{ {example} }}"
            yield Fault(f"{path}.weights", "nothing", "how much each outcome counts", fix)
        yield from _surrogate(known, target, path)
        if target.kind == "index":
            without = [w.id for w in known.entries("waves") if not _has_control(w)]
            if without:
                needed = "a control, whose standard deviations scale the outcomes"
                fix = "give a control_share, or take kind 'weighted'"
                yield Fault(path, f"an index, and no control in {listing(without)}", needed, fix)


def _target_weights(target: Target, path: str) -> Iterator[Fault]:
    if target.kind == "surrogate":
        yield Fault(f"{path}.weights", "kind 'surrogate'", "weights that are learned, not given")
        return
    if not sum(target.weights.values()) > 0:
        yield Fault(f"{path}.weights", "weights that sum to 0", "one above 0 or more")
    apart = set(target.outcomes) ^ set(target.weights)
    if target.outcomes and apart:
        fix = "leave `outcomes` out, or give a weight for each"
        yield Fault(f"{path}.weights", listing(apart), "a weight for each of its outcomes", fix)


def _surrogate(known: Known, target: Target, path: str) -> Iterator[Fault]:
    needed = {"stands_for": "the later outcome", "learned_on": "the waves in which it is known"}
    for key, what in needed.items():
        given = getattr(target, key) is not None
        if target.kind == "surrogate" and not given:
            yield Fault(f"{path}.{key}", "nothing", what)
        elif target.kind != "surrogate" and given:
            yield Fault(f"{path}.{key}", f"kind '{target.kind}'", "kind 'surrogate' beside it")
    if target.stands_for is not None:
        yield from refer(
            f"{path}.stands_for", target.stands_for, known.names("outcomes"), "an outcome"
        )
        if target.stands_for in target.parts:
            yield Fault(f"{path}.stands_for", "one of its own outcomes", "a later one")
    for wave in target.learned_on or ():
        yield from refer(f"{path}.learned_on", wave, known.names("waves"), "a wave")


def _has_control(wave: Wave) -> bool:
    return wave.control_id is not None or bool(wave.held_out_share)


def _models(known: Known) -> Iterator[Fault]:
    outcomes = {outcome.id: outcome for outcome in known.entries("outcomes")}
    outcomes |= {target.id: target.as_outcome() for target in known.entries("targets")}
    for name, model in known.table("models").items():
        path = f"models.{name}"
        goals = known.names("outcomes") | known.names("targets")
        yield from refer(f"{path}.outcome", model.outcome, goals, "an outcome or target")
        if model.outcome in outcomes:
            yield from _model_fits(known, model, outcomes[model.outcome], path)


def _model_fits(known: Known, model: Model, outcome: Outcome, path: str) -> Iterator[Fault]:
    binomial = model.kind in {"beta binomial", "hierarchical binomial"}
    if binomial and outcome.kind not in {"any", "successes"}:
        found = f"'{model.kind}' for an outcome of kind '{outcome.kind}'"
        yield Fault(f"{path}.kind", found, "an outcome of kind 'any' or 'successes'")
    if model.kind.startswith("hierarchical") and model.cluster is None:
        yield Fault(f"{path}.cluster", "nothing", "the column of the clusters")
    if model.kind != "beta binomial" and model.pooling != "none":
        found = f"'{model.pooling}' for kind '{model.kind}'"
        yield Fault(f"{path}.pooling", found, "kind 'beta binomial', or no pooling")
    yield from _model_clusters(known, model, path)
    yield from _model_priors(known, model, path)


def _model_priors(known: Known, model: Model, path: str) -> Iterator[Fault]:
    """Faults of what is known of single arms beforehand."""
    if model.arm_priors and model.kind != "beta binomial":
        yield Fault(f"{path}.arm_priors", f"kind '{model.kind}'", "kind 'beta binomial'")
    if model.has_evidence and model.pooling != "none":
        found = "priors of single arms beside strata that inform each other"
        yield Fault(f"{path}.pooling", found, "one of them")
    for arm in model.arm_priors:
        yield from refer(f"{path}.arm_priors", arm, known.arm_ids, "an arm")
    earlier, place = model.earlier, f"{path}.earlier"
    if earlier is None:
        return
    if model.kind not in {"beta binomial", "hierarchical binomial"}:
        needed = "kind 'beta binomial' or 'hierarchical binomial'"
        yield Fault(place, f"kind '{model.kind}'", needed)
    if earlier.file is None and not earlier.results:
        fix = 'add file = "report.json" or results = { ARM = [12, 100] }'
        yield Fault(place, "neither file nor results", "what the earlier study found", fix)
    for arm in (*earlier.arms, *earlier.results):
        yield from refer(place, arm, known.arm_ids, "an arm")
    for arm, (first, second) in earlier.results.items():
        counts = model.kind == "beta binomial"
        good = 0 <= first <= second if counts else second > 0
        needed = "[successes, trials]" if counts else "[mean, standard deviation above 0]"
        if not good:
            yield Fault(f"{place}.results.{arm}", f"[{first:g}, {second:g}]", needed)


def _model_clusters(known: Known, model: Model, path: str) -> Iterator[Fault]:
    """Faults of the sizes that clusters are assumed to have."""
    these = model.kind == "hierarchical binomial" and model.clusters == "these"
    for name in ("cluster_size", "new_units"):
        if getattr(model, name) and not these:
            needed = "kind 'hierarchical binomial' with clusters = \"these\""
            yield Fault(f"{path}.{name}", f"{getattr(model, name)!r}", needed)
    if model.cluster_size is not None and known.columns is not None:
        column = (f"{path}.cluster_size", model.cluster_size, known.columns)
        yield from refer(*column, "a column of [units]")


def _plan(known: Known) -> Iterator[Fault]:
    analysis, decision = known.sound.get("analysis"), known.sound.get("decision")
    if analysis is not None:
        for pair in analysis.contrasts:
            for arm in pair:
                yield from refer("analysis.contrasts", arm, known.arm_ids, "an arm")
        if analysis.targeting is not None:
            yield from refer(
                "analysis.targeting.arm", analysis.targeting.arm, known.arm_ids, "an arm"
            )
        for column in analysis.effects.covariates:
            if known.columns is not None:
                path = "analysis.effects.covariates"
                yield from refer(path, column, known.columns, "a column of [units]")
    if decision is not None:
        yield from refer("decision.model", decision.model, known.names("models"), "a model")
        for wave in decision.learned_on:
            yield from refer("decision.learned_on", wave, known.names("waves"), "a wave")


def _planning(known: Known) -> Iterator[Fault]:
    planning: Planning | None = known.sound.get("planning")
    if planning is None:
        return
    kinds = {outcome.id: outcome.kind for outcome in known.entries("outcomes")}
    for name, given in planning.baseline.items():
        path = f"planning.baseline.{name}"
        goals = known.names("outcomes") | known.names("targets")
        yield from refer("planning.baseline", name, goals, "an outcome or target")
        every = {path: given} if not isinstance(given, dict) else (
            {f"{path}.{wave}": one for wave, one in given.items()}
        )  # fmt: skip
        for wave in given if isinstance(given, dict) else ():
            yield from refer(path, wave, known.names("waves"), "a wave")
        for place, one in every.items():
            if kinds.get(name) in {"any", "successes"} and not 0 <= one.mean <= 1:
                yield Fault(f"{place}.mean", f"{one.mean:g}", "a share between 0 and 1")
    if (planning.cluster_size is None) != (planning.intracluster_correlation is None):
        needed = "both cluster_size and intracluster_correlation, or neither"
        yield Fault("planning", "one of them", needed, "add the other")

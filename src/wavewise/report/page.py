"""The page: one self-contained HTML file, and its figures and numbers as files beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavewise.report.answers import Findings, answers, facts, findings, headline, trust
from wavewise.report.blocks import (
    Block,
    Bullets,
    CheckList,
    Column,
    Fold,
    Heading,
    Note,
    Pairs,
    Section,
    Table,
    environment,
    figures_of,
)
from wavewise.report.contents import (
    FormerOutcomes,
    ReportContents,
    WaveContents,
    check_table,
    data_table,
    design_table,
    flow_table,
    former_table,
    learned_table,
    participants_table,
    study_effects,
    study_posterior,
    truth_table,
)
from wavewise.report.deliveries import WaveDeliveries, delivery_tables, reach_sentence
from wavewise.report.effects import (
    OutcomeEffects,
    contrasts_table,
    cost_table,
    differs_from_control,
    effects_table,
    flat_posterior,
    over_time_table,
    pairs_matrix,
    ranked_effects,
)
from wavewise.report.evaluation import (
    Evaluation,
    calibration_table,
    contrast_table,
    curve_table,
    evaluation_sentences,
    policy_table,
    projection_table,
    spending_table,
)
from wavewise.report.figures.draw import Figure, Names, figure_files
from wavewise.report.figures.intervals import effects_figure, persistence_figure
from wavewise.report.figures.participants import participants_figure
from wavewise.report.figures.policies import (
    contrasts_figure,
    policies_figure,
    spending_figure,
    targeting_figure,
)
from wavewise.report.figures.posterior import posterior_figure, prob_optimal_figure, shares_figure
from wavewise.report.figures.ridges import ridge_figure
from wavewise.report.figures.sends import sends_figure
from wavewise.report.models import ScoreFit, adaptive_table, score_panels_of, score_table
from wavewise.report.numbers import count, percent, probability, scale_of
from wavewise.report.posteriors import OutcomePosterior, posterior_table
from wavewise.shared.results import NotEstimable

__all__ = ["RenderedReport", "render"]

MOST_DENSITIES = 3  # with more waves than this, single waves show intervals only, to stay small
MOST_OPEN_WAVES = 3
MOST_STRATA = 30  # in a table of shares by stratum


@dataclass(frozen=True)
class RenderedReport:
    """A report ready to be written.

    Parameters
    ----------
    html : str
        The page, which needs none of the files.
    files : dict of str to bytes
        Figures (``figures/NAME.svg``, ``.png``, ``.vl.json``) and the numbers of the whole report
        (``report.json``), by path.
    """

    html: str
    files: dict[str, bytes]


def render(contents: ReportContents) -> RenderedReport:
    """A report as one page and its figures; the same contents give the same bytes.

    Parameters
    ----------
    contents : ReportContents
        What to show.

    Returns
    -------
    RenderedReport
        The page as text, the files as bytes. Nothing is written.

    Examples
    --------
    >>> from wavewise.report import ArmRow, ReportContents, WaveContents, render
    >>> arms = (ArmRow("control", "no message", 0.5), ArmRow("reminder", "a text message", 0.5))
    >>> wave = WaveContents("wave-1", "First wave", "planned", arms)
    >>> page = render(ReportContents("Reminders", "reminders", "2024-03-01", "parents", (wave,)))
    >>> "Not known yet" in page.html
    True
    """
    shown, names = findings(contents), Names()
    summary = _summary(contents, shown, names)
    sections = tuple(section for section in _sections(contents, shown, names) if section.blocks)
    html = (
        environment()
        .get_template("index.html.j2")
        .render(
            report=contents,
            failed=[(wave.title, check) for wave in contents.waves for check in wave.checks
                    if check.passed is False],
            n_checks=sum(len(wave.checks) for wave in contents.waves),
            facts=facts(contents),
            headline=headline(contents),
            answers=answers(contents),
            trust=trust(contents),
            summary=summary,
            sections=sections,
        )
    )  # fmt: skip
    files: dict[str, bytes] = {}
    for figure in figures_of([*summary, *(block for part in sections for block in part.blocks)]):
        files |= figure_files(figure)
    text = json.dumps(contents.to_dict(), ensure_ascii=False, indent=1)
    files["report.json"] = f"{text}\n".encode()
    return RenderedReport(html, files)


def _summary(contents: ReportContents, shown: Findings, names: Names) -> list[Figure]:
    """The figure of the first screen."""
    if contents.evaluations:
        tested = policies_figure(names.new("summary"), contents.evaluations[-1])
        return [] if tested is None else [tested]
    if shown.effects is not None and shown.effects.rows:
        return [effects_figure(names.new("summary"), shown.effects, shown.arm, adjusted=False)]
    if shown.posterior is not None:
        return [posterior_figure(names.new("summary"), shown.posterior, shown.arm)]
    return []


def _sections(contents: ReportContents, shown: Findings, names: Names) -> Iterator[Section]:
    """The parts of the page in the order of the story; what a study does not have is left empty."""
    effects, (posterior, reason) = study_effects(contents), study_posterior(contents)
    tests = tuple(b for item in contents.evaluations for b in _evaluation(item, contents, names))
    title = _of_messages(contents, "Effects", "which message works?")
    yield Section("effects", title, "Effects", tuple(_effects(contents, effects, shown, names)))
    tested = contents.evaluations[-1] if contents.evaluations else None
    learned = learned_table(contents, tested)
    what = () if learned is None else (learned,)
    yield Section("learned", "What was learned from it", "Policies learned", what)
    title = _of_tests(contents)
    yield Section("policies", title, "Policies tested", tests)
    winner = () if contents.adaptive is None else (adaptive_table(contents.adaptive),)
    yield Section("winner", "What the best arm is worth", "Winner", winner)
    models = tuple(b for fit in contents.score_models for b in _scores(fit, contents, names))
    yield Section("scores", "Scores by period", "Scores", models)
    blocks = tuple(_posteriors(contents, posterior, reason, shown, names))
    yield Section("posteriors", "Posteriors by wave", "Posteriors", blocks)
    yield Section("decision", "Decision", "Decision", tuple(_decision(contents, posterior)))
    yield from _evidence(contents, shown, posterior, names)


def _of_messages(contents: ReportContents, plain: str, question: str) -> str:
    """Heading of the waves of messages, where others test what they taught."""
    titles = [wave.title for wave in contents.waves if wave.effects and not wave.of_policies]
    if not titles or not any(wave.of_policies for wave in contents.waves):
        return plain
    return f"{' and '.join(titles)}: {question}"


def _of_tests(contents: ReportContents) -> str:
    tested = {item.wave for item in contents.evaluations}
    titles = [wave.title for wave in contents.waves if wave.id in tested]
    return f"{' and '.join(titles) or 'Policies'}: does choosing pay, on new outcomes?"


def _evidence(
    contents: ReportContents, shown: Findings, posterior: OutcomePosterior | None, names: Names
) -> Iterator[Section]:
    """What the findings rest on; folded, but for checks."""
    yield Section("checks", "Checks", "Checks", tuple(_checks(contents)))
    design = tuple(_design(contents, names))
    yield Section("design", "Design", "Design", design, folded=True)
    units = tuple(_units(contents, names))
    yield Section("units", "Units by wave and arm", "Units", units, folded=True)
    sent = tuple(b for item in contents.deliveries for b in _delivery(item, contents, names))
    yield Section("deliveries", "Deliveries", "Deliveries", sent, folded=True)
    data = (data_table(contents),) if contents.data else ()
    yield Section("data", "Data", "Data", data, folded=True)
    truth = tuple(_truth(contents, shown, posterior, names))
    yield Section("truth", "The truth beside the estimates", "Truth", truth, folded=True)
    words = glossary(
        effects=bool(study_effects(contents)),
        posterior=posterior is not None,
        policies=bool(contents.evaluations),
        deliveries=bool(contents.deliveries),
    )
    read = (Pairs(words, "words"),)
    yield Section("words", "How to read this", "How to read this", read, folded=True)
    source = (
        "What is needed to reproduce these numbers.",
        Pairs(contents.provenance, "pairs code"),
    )
    yield Section("provenance", "Provenance", "Provenance", source, folded=True)


def _design(contents: ReportContents, names: Names) -> Iterator[Block]:
    if contents.abstract:
        yield contents.abstract
    yield design_table(contents)
    waves = contents.waves
    if len(waves) > 1 or any(wave.next_shares for wave in waves):
        figure = shares_figure(names.new("shares"), waves)
        yield from () if figure is None else (figure,)
    if contents.amendments:
        yield Heading("Changes since registration")
        yield Bullets(contents.amendments)


def _participants(wave: WaveContents, unit_name: str, names: Names) -> Iterator[Block]:
    """Who was invited, who left and who was drawn."""
    figure = participants_figure(names.new(f"participants-{wave.id}"), wave, unit_name)
    if figure is not None:
        yield figure
        yield participants_table(wave.participants, unit_name, wave.title)


def _units(contents: ReportContents, names: Names) -> Iterator[Block]:
    for wave in contents.waves:
        versions = [block for one in wave.former for block in _former(wave, one)]
        sent = [wave.sent] if wave.sent and not contents.simulated else []
        if wave.accepted:
            sent.append("Closed although checks of its data failed:")
        accepted = [Bullets(wave.accepted)] if wave.accepted else []
        inner = (
            Note(_wave_facts(wave)),
            *sent,
            *accepted,
            *_participants(wave, contents.unit_name, names),
            flow_table(wave, contents.unit_name),
            *versions,
        )
        if len(contents.waves) > MOST_OPEN_WAVES:
            yield Fold(wave.title, inner, "wave", is_open=wave is contents.waves[-1])
        else:
            yield Heading(wave.title)
            yield from inner


def _former(wave: WaveContents, former: FormerOutcomes) -> Iterator[Block]:
    """A version of the outcomes that is no longer used, beside the one that is."""
    yield (
        f"Outcomes of {wave.title} were made anew. Version {former.version}, frozen "
        f"{former.closed_on}, is kept; reason: {former.reason}"
    )
    if former.made_from:
        yield Bullets(
            tuple(f"Made from version {former.version}: the {x}" for x in former.made_from)
        )
    yield former_table(wave, former)


def _wave_facts(wave: WaveContents) -> str:
    parts: list[str] = [wave.state]
    parts += [f"starts {wave.starts}"] if wave.starts else []
    parts += [f"outcomes over {wave.window_days} days"] if wave.window_days is not None else []
    parts += [f"shares: {wave.allocation}"] if wave.allocation else []
    parts += ["exploratory"] if wave.exploratory else []
    return " \u00b7 ".join(parts)


def _checks(contents: ReportContents) -> Iterator[Block]:
    """Checks that did not pass, then the others folded."""
    rows = [
        (wave.title, check, check_table(check)) for wave in contents.waves for check in wave.checks
    ]
    doubtful = tuple(row for row in rows if row[1].passed is not True)
    passed = tuple(row for row in rows if row[1].passed is True)
    yield from (wave.early for wave in contents.waves if wave.early)
    if doubtful:
        yield CheckList(doubtful)
    if passed:
        line = "1 check passed" if len(passed) == 1 else f"{len(passed)} checks passed"
        yield Fold(line, (CheckList(passed),))


def _delivery(item: WaveDeliveries, contents: ReportContents, names: Names) -> Iterator[Block]:
    yield Heading(item.title)
    sentence, figure = reach_sentence(item), sends_figure(names.new(f"sends-{item.wave}"), item)
    if sentence:
        yield sentence
    if figure is not None:
        yield figure
    yield from delivery_tables(item, contents.unit_name)
    for arm, reason in item.not_estimable:
        of_arm = f" of {arm}" if arm else ""
        yield Note(f"Effect on compliers{of_arm}: not estimable, {reason}.")


def _effects(
    contents: ReportContents, study: tuple[OutcomeEffects, ...], shown: Findings, names: Names
) -> Iterator[Block]:
    source = next((wave for wave in contents.waves if wave.effects and wave.effects is study), None)
    stem = f"effects-{source.id}" if source is not None and contents.evaluations else "effects"
    for item in study:
        truth = _gains(source, item) if source is not None else {}
        is_main = item is shown.effects
        inner = tuple(_outcome(item, stem, shown.arm, truth, names, contents, is_main=is_main))
        if is_main:
            yield from inner
        else:
            mark = "" if item.registered else ", exploratory"
            yield Fold(f"{item.outcome.name}{mark}: {item.estimator}", inner, "wave")
    for wave in contents.waves:
        if wave.effects and wave.effects is not study and not wave.of_policies:
            yield Fold(f"{wave.title} by itself", tuple(_by_itself(wave, contents, names)), "wave")


def _by_itself(wave: WaveContents, contents: ReportContents, names: Names) -> Iterator[Block]:
    """Effects of one wave alone."""
    for item in wave.effects:
        truth = _gains(wave, item)
        yield from _outcome(item, f"effects-{wave.id}", None, truth, names, contents)


def _outcome(
    item: OutcomeEffects,
    stem: str,
    best: str | None,
    truth: dict[str, float],
    names: Names,
    contents: ReportContents,
    *,
    is_main: bool = False,
) -> Iterator[Block]:
    """Figure or matrix of pairs, table, what is not estimable, contrasts, how it was estimated."""
    name = names.new(f"{stem}-{item.outcome.id}")
    matrix = pairs_matrix(item, contents.labels)
    single: list[Block] = []
    if item.rows:
        single = [effects_figure(name, item, best, truth=truth), effects_table(item, best)]
    contrasts = contrasts_table(item)
    table: list[Block] = [] if contrasts is None else [contrasts]
    if matrix is not None:
        yield from filter(None, (_among(item) if is_main else "",))
        yield matrix
        yield Fold("Pairs one by one, and contrasts", (*single, *table))
    elif is_main:
        yield from single
        yield from (Fold("Contrasts", tuple(table)),) if table else ()
    else:
        yield from (*single, *table)
    if item.reasons:
        yield Note("Not estimable:")
        yield Bullets(tuple(f"{arm}: {why}" if arm else why for arm, why in item.reasons))
    yield from _present(cost_table(item))
    yield from _over_time(item, name, names)
    yield Note(item.method)


def _among(item: OutcomeEffects) -> str:
    """How many arms differ from control, which one leads, and how surely."""
    shown = sum(differs_from_control(item, row) is True for row in item.rows)
    best, stakes = ranked_effects(item)[0], flat_posterior(item)
    scale = scale_of(item.outcome)
    adjusted = f" after adjustment for {len(item.rows)} comparisons" if item.adjusted_by else ""
    text = (
        f"{shown} of {len(item.rows)} arms are shown to do better than {item.control}{adjusted}. "
        f"{best.arm} has the best estimate, "
        f"{scale.effect(best.estimate, scale.decimals(best.std_error))}"
    )
    if best.arm not in stakes:
        return f"{text}."
    chance, loss = stakes[best.arm]
    return (
        f"{text}; the chance that another is better is {probability(chance)}, and the loss "
        f"expected by that {scale.amount(loss)} (normal posterior, flat prior)."
    )


def _over_time(item: OutcomeEffects, stem: str, names: Names) -> Iterator[Block]:
    """Effects by week: a curve with both bands, and its table."""
    if isinstance(item.curve, NotEstimable):
        yield Note(f"Over time: {item.curve}.")
    table = over_time_table(item)
    if table is not None:
        yield from _present(persistence_figure(names.new(f"{stem}-over-time"), item))
        yield Fold(table.caption, (table,))


def _gains(wave: WaveContents, item: OutcomeEffects) -> dict[str, float]:
    """True effects of a simulated wave on this outcome."""
    same = wave.truth is not None and wave.truth.outcome.id == item.outcome.id
    return wave.truth.effects if wave.truth is not None and same else {}


def _evaluation(item: Evaluation, contents: ReportContents, names: Names) -> Iterator[Block]:
    def name(stem: str) -> str:
        return names.new(f"{stem}-{item.wave}")

    said = evaluation_sentences(item, contents.unit_name)
    yield f"Learned on {', '.join(item.learned_on)}; tested on {item.wave}."
    yield policy_table(item)
    if item.contrasts:
        yield contrast_table(item)
    yield Fold("In words", (Bullets(said),), "wave")
    figures = _present(
        policies_figure(name("policies"), item), contrasts_figure(name("contrasts"), item)
    )
    yield Fold("Policies and their differences as figures", tuple(figures), "wave")
    spent = tuple(_present(spending_figure(name("spending"), item), spending_table(item)))
    if spent:
        yield Fold("Messaging only some: gain by share of units messaged", spent, "wave")
    curves = tuple(_present(targeting_figure(name("targeting"), item), curve_table(item)))
    if curves:
        yield Fold("Targeting: do those ranked first gain more?", curves, "wave")
    inner = tuple(_present(calibration_table(item), projection_table(item)))
    if inner:
        yield Fold("Are the predictions calibrated, and who gains more?", inner, "wave")
    alone = next((wave for wave in contents.waves if wave.id == item.wave and wave.effects), None)
    if alone is not None:
        inner = tuple(_by_itself(alone, contents, names))
        yield Fold(f"{alone.title} as randomized: each policy's own units", inner, "wave")


def _present(*blocks: Block | None) -> Iterator[Block]:
    yield from (block for block in blocks if block is not None)


def _scores(fit: ScoreFit, contents: ReportContents, names: Names) -> Iterator[Block]:
    yield Heading(fit.outcome.name)
    figure = _score_figure(names.new(f"scores-{fit.model}"), fit)
    yield from _present(figure, score_table(fit, contents.late_scores))


def _score_figure(name: str, fit: ScoreFit) -> Figure | None:
    """Posterior distributions of the arms' effects, a sample below the other; None without any."""
    panels = score_panels_of(fit)
    if not panels:
        return None
    unit = f", {fit.outcome.unit}" if fit.outcome.unit else ""
    return ridge_figure(
        panels,
        name=name,
        title=f"Effect on {fit.outcome.name} by arm",
        x_title=f"effect against the control{unit}",
        caption=f"Bars are medians, shaded the {percent(0.95, 0)} HPD interval.",
        effects=True,
    )


def _posteriors(
    contents: ReportContents,
    posterior: OutcomePosterior | None,
    reason: str,
    shown: Findings,
    names: Names,
) -> Iterator[Block]:
    moved = prob_optimal_figure(names.new("prob-best"), contents.waves)
    if reason:
        yield f"No posterior was computed: {reason}."
    if posterior is not None:
        yield posterior_figure(names.new("posterior"), posterior, shown.arm)
        yield posterior_table(posterior, shown.arm)
    yield from _present(moved)
    for wave in contents.waves:
        after = wave.posterior
        if after is None or after is posterior:
            continue
        if isinstance(after, NotEstimable):
            yield Fold(f"After: {wave.title}", (Note(str(after)),), "wave")
            continue
        drawn = len(contents.waves) <= MOST_DENSITIES
        figure = posterior_figure(names.new(f"posterior-{wave.id}"), after, None, densities=drawn)
        yield Fold(f"After: {wave.title}", (figure, posterior_table(after, None)), "wave")


def _shares_by_stratum(wave: WaveContents) -> Iterator[Block]:
    """Shares of the next wave by stratum, where they were learned so."""
    strata = wave.decided.get("shares_by_stratum") or {}
    if not strata:
        return
    counts = {row["stratum"]: row["n_units"] for row in wave.decided["strata"]}
    arms = list(next(iter(strata.values())))
    columns = (", ".join(wave.decided["within"]), "Units before", *arms)
    rows = tuple(
        (name, count(counts[name]), *(percent(shares[arm], 1) for arm in arms))
        for name, shares in list(strata.items())[:MOST_STRATA]
    )
    more = len(strata) - MOST_STRATA
    note = f"{more:,} more strata are in report.json." if more > 0 else ""
    head = tuple(Column(name, numeric=k > 0) for k, name in enumerate(columns))
    yield Table(f"Shares of {wave.decided['for_wave']} by stratum", head, rows, note=note)


def _less_of_the_prior(what: str, prior: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """The decision with the prior, with half of it and without it."""
    if not rows:
        return
    arms = list(next((row["shares"] for row in rows if row["shares"]), {}))
    columns = ("Prior at", "Best", "Probability", *(f"Share of {arm}" for arm in arms))
    cells = tuple(
        (
            percent(row["weight"], 0),
            row["arm"] or row["reason"],
            "" if row["prob_optimal"] is None else probability(row["prob_optimal"]),
            *("" if not row["shares"] else percent(row["shares"][arm], 1) for arm in arms),
        )
        for row in rows
    )
    head = tuple(Column(name, numeric=k > 1) for k, name in enumerate(columns))
    yield Table(f"{what} with less of the prior", head, cells, note=prior)


def _decision(contents: ReportContents, posterior: OutcomePosterior | None) -> Iterator[Block]:
    for wave in contents.waves:
        yield from _shares_by_stratum(wave)
        told = (wave.decided.get("prior", ""), wave.decided.get("prior_sensitivity", ()))
        yield from _less_of_the_prior(f"Decision after {wave.title}", *told)
    decision = contents.decision
    if decision is None:
        return
    yield from _less_of_the_prior("Choice of the arm", decision.prior, decision.prior_rows)
    yield from filter(None, (decision.made_from_former, *_unsent(contents)))
    rows = {row.arm: row for row in posterior.rows} if posterior else {}
    row = rows.get(decision.arm or "")
    prob, regret = decision.prob_optimal, decision.policy_regret
    if row is not None:
        prob = row.prob_optimal if prob is None else prob
        regret = row.policy_regret if regret is None else regret
    lines = [("Rule", decision.rule), ("Chosen", decision.arm or "none yet: go on learning")]
    if decision.arm and prob is not None:
        lines.append(("Probability of being best", probability(prob)))
    if decision.arm and regret is not None and posterior is not None:
        lines.append(("Expected regret", scale_of(posterior.outcome).amount(regret)))
    if decision.runner_up:
        lines.append(("Next best", decision.runner_up))
    yield Pairs(tuple(lines))


def _unsent(contents: ReportContents) -> tuple[str, ...]:
    shown = () if contents.simulated else contents.waves
    return tuple(wave.sent for wave in shown if wave.nothing_sent)


def _truth(
    contents: ReportContents, shown: Findings, posterior: OutcomePosterior | None, names: Names
) -> Iterator[Block]:
    truth = contents.truth
    if truth is None:
        return
    arms = {row.arm for row in truth.rows}
    estimated = (shown.effects, *(item for wave in contents.waves for item in wave.effects))
    effects = next((e for e in estimated if e and arms & {row.arm for row in e.rows}), None)
    yield (
        "The units were simulated, so the true means are known. About one interval in twenty "
        "misses its true value when the intervals are 95 % intervals."
    )
    same_effects = effects if effects and effects.outcome.id == truth.outcome.id else None
    same_after = posterior if posterior and posterior.outcome.id == truth.outcome.id else None
    name = names.new("truth")
    if same_effects is not None and same_effects.rows and truth.effects:
        yield effects_figure(name, same_effects, shown.arm, adjusted=False, truth=truth.effects)
    elif same_after is not None:
        means = {row.arm: row.mean for row in truth.rows}
        yield posterior_figure(name, same_after, shown.arm, truth=means)
    yield truth_table(truth, same_effects, same_after)


# The words that a report uses, each explained in a sentence or two.

_ALWAYS = (
    (
        "Arm, control",
        "What a unit can be assigned to. Control is the arm that gets no message; "
        "every effect is a difference from it.",
    ),
    (
        "Share",
        "The fraction of a wave that was to be assigned to an arm. Counts differ from it by less "
        "than one unit, or one cluster.",
    ),
)

_EFFECTS = (
    (
        "Effect, intent to treat",
        "The difference in the mean outcome between units assigned to an arm and units assigned "
        "to control, whether or not the message was delivered or read.",
    ),
    (
        "Confidence interval",
        "Over many repetitions of the experiment, intervals made this way cover the true effect "
        "as often as their level says. An interval that includes zero is compatible with no "
        "effect; that does not show that there is none.",
    ),
    (
        "p, adjusted p",
        "How often a difference at least this large would arise if the arm had no effect. With "
        "many arms some look good by chance; the adjusted p allows for that.",
    ),
    (
        "The best of several",
        "The arm with the highest estimate tends to look a little better than it is, since it was "
        "selected for being highest. Its interval is not corrected for this unless the table says "
        "so.",
    ),
)

_POSTERIOR = (
    (
        "Posterior, credible interval",
        "The distribution of the true value given the data, under the model. The true value lies "
        "in the interval with the stated probability. HPD is the shortest such interval; "
        "equal-tailed leaves out as much on either side.",
    ),
    (
        "Probability of being best",
        "The posterior probability that the arm's mean outcome is the best of all arms compared.",
    ),
    (
        "Expected regret",
        "Policy regret: the loss, per unit, from using this arm for all instead of the arm that "
        "is truly best, averaged over the posterior. It is small when the arm is almost surely "
        "best, or when the arms hardly differ.",
    ),
    (
        "Exploration sampling",
        "An allocation rule that gives more of the next wave to arms that may yet be best but are "
        "not known to be: shares in proportion to p(1 \u2212 p), with p the probability of being "
        "best.",
    ),
)

_POLICIES = (
    (
        "Policy, fresh outcomes",
        "A rule that assigns each unit a message by its covariates. It was frozen before the test "
        "began, and is tested on outcomes that came later: on the outcomes that it was learned "
        "from, every policy looks better than it is.",
    ),
    (
        "Personalization, targeting",
        "Which message to send to whom; and whether to message somebody at all.",
    ),
    (
        "Doubly robust",
        "An estimate from all units: each contributes to the value of every policy that assigns it "
        "the message it received, weighted by the known probability of receiving it.",
    ),
    (
        "AUTOC, Qini",
        "How much more those ranked first gain, averaged over the share that is messaged. 0 means "
        "that the ranking has no value.",
    ),
)

_DELIVERIES = (
    (
        "Effect on compliers",
        "The complier average causal effect: the effect on units that receive a message because "
        "they were assigned to it, and would not have otherwise. Units that were reached are never "
        "compared with units that were not, since they differ in more than the message.",
    ),
)


def glossary(
    *, effects: bool, posterior: bool, policies: bool = False, deliveries: bool = False
) -> tuple[tuple[str, str], ...]:
    """Terms and their meaning, for the parts that a report has."""
    parts = (
        (_EFFECTS, effects),
        (_DELIVERIES, deliveries),
        (_POSTERIOR, posterior),
        (_POLICIES, policies),
    )
    return _ALWAYS + tuple(word for words, wanted in parts if wanted for word in words)

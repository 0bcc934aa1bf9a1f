"""Does it pay to choose the letter for each voter? Learned on even households, tested on odd ones.

    target.py DATA.csv[.gz] FOLDER [TREES]

Writes FOLDER/targeting/index.html, and prints what it says. The strongest letter for everybody is
the rule to beat.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

import wavewise as ww
from wavewise.report import (
    ArmRow,
    EffectRow,
    Evaluation,
    Outcome,
    OutcomeEffects,
    ReportContents,
    WaveContents,
    evaluation_sentences,
    render,
)
from wavewise.report.effects import facts_of
from wavewise.report.evaluation import (
    CalibrationRow,
    ContrastRow,
    CurveRow,
    PolicyRow,
    SpendRow,
    projection_rows,
)

LETTERS = {
    "civic-duty": "an appeal to duty",
    "hawthorne": "turnout is being studied",
    "self": "the household's own record",
    "neighbors": "the neighbours' records too",
}
ARM_NAMES = {" Control": "control", " Civic Duty": "civic-duty", " Hawthorne": "hawthorne"}
ARM_NAMES |= {" Self": "self", " Neighbors": "neighbors"}
SHARES = {"control": 5 / 9} | dict.fromkeys(LETTERS, 1 / 9)
PAST_VOTES = ["g2000", "g2002", "p2000", "p2002", "p2004"]
COVARIATES = ["sex", "yob", *PAST_VOTES, "hh_size"]
TURNOUT = Outcome(id="voted", label="turnout", kind="any", primary=True)
USUAL_LEAF = 5
SPENDS = (0.1, 0.25, 0.5, 0.75, 1.0)


def main(data_path: str, folder: str, n_trees: int = 2000) -> None:
    data = read(data_path)
    even = pl.col("hh_id").floor() % 2 == 0  # one household's number has a fraction
    learn, test = data.filter(even), data.filter(~even)
    models = learned(learn, n_trees)
    shown = evaluation(models, learn, test)
    contents = ReportContents(
        "Does it pay to choose the letter for each voter?",
        "get-out-the-vote-targeting",
        "",
        "voters",
        (wave("even", "Even households: the rules learn", learn),
         wave("odd", "Odd households: the rules are tested", test)),
        abstract="Gerber, Green and Larimer (2008), whose households were randomized once, are "
        "split by the number of the household. Rules learned on even households are frozen and "
        "tested on odd ones, whose votes they have not seen.",
        effects=(letters(test),),
        evaluations=(shown,),
        n_units=len(data),
    )  # fmt: skip
    rendered = render(contents)
    out = Path(folder) / "targeting"
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in rendered.files.items():
        (out / name).write_bytes(content)
    (out / "index.html").write_text(rendered.html, encoding="utf-8")
    print("\n\n".join(evaluation_sentences(shown, "voters")))
    print(f"\nPage: {out / 'index.html'}")


def read(path: str) -> pl.DataFrame:
    data = pl.read_csv(path, infer_schema_length=None)
    # the file writes "Yes" in some columns and "yes" in others
    votes = [(pl.col(c).str.to_lowercase() == "yes").cast(pl.Float64) for c in PAST_VOTES]
    return data.with_columns(
        *votes,
        arm=pl.col("treatment").replace_strict(ARM_NAMES),
        voted=(pl.col("voted") == "Yes").cast(pl.Float64),
    )


def learned(learn: pl.DataFrame, n_trees: int) -> dict:
    """Models of the letters' effects: tuned, and with the small leaves that are usual."""
    arrays = (learn.select(COVARIATES), learn["arm"].to_numpy(), learn["voted"].to_numpy())
    options = {"control": "control", "propensity": SHARES}
    grown = options | {"cluster": learn["hh_id"].to_numpy(), "n_trees": n_trees}
    rng = np.random.default_rng
    return {
        "forest": ww.estimate.causal_forest(*arrays, **grown, rng=rng(2006)),
        "untuned forest": ww.estimate.causal_forest(
            *arrays, **grown, min_arm_leaf=USUAL_LEAF, shrink=False, rng=rng(2007)
        ),
        "neighbours": ww.estimate.neighbours(*arrays, **options, rng=rng(2008)),
    }


def letters(data: pl.DataFrame) -> OutcomeEffects:
    """What each letter does on average in the test half."""
    arms = ["control", *LETTERS]
    return OutcomeEffects(
        TURNOUT,
        ww.estimate.ate(
            data["voted"].to_numpy(), data["arm"].to_numpy(), arms=arms,
            cluster=data["hh_id"].to_numpy(), se="CR1",
        ),
    ).compared("none")  # fmt: skip


def evaluation(models: dict, learn: pl.DataFrame, test: pl.DataFrame) -> Evaluation:
    """The rules on households that they did not learn from."""
    average = ww.estimate.ate(
        learn["voted"].to_numpy(), learn["arm"].to_numpy(), control="control",
        cluster=learn["hh_id"].to_numpy(), se="CR1",
    )  # fmt: skip
    best = ww.decide.uniform_best(average, name="best")
    rules = {name: ww.decide.personalize(model, name=name) for name, model in models.items()}
    at_random = ww.decide.random_policy(list(LETTERS), name="random")
    nothing = ww.decide.uniform("control", name="no letter")
    cluster = test["hh_id"].to_numpy()
    X, drawn = test.select(COVARIATES), (test["arm"].to_numpy(), test["voted"].to_numpy())

    letter = best.arms[0]
    scores = ww.evaluate.doubly_robust_scores(
        X, *drawn, propensity=SHARES, control="control", arms=sorted(SHARES), cluster=cluster
    )

    def compare(first: object, second: object) -> object:
        return ww.evaluate.policy_contrast(
            first, second, X, *drawn, propensity=SHARES, cluster=cluster, scores=scores
        )

    def contrast(first: object, second: object) -> ContrastRow:
        name, difference = f"{first.name} minus {second.name}", compare(first, second)
        row = EffectRow.of(name, facts_of(difference))
        return ContrastRow(first.name, second.name, row, difference.share_differs)

    predicted = {name: models[name].effects(X) for name in ("forest", "untuned forest")}
    column = models["forest"].arms.index(letter)
    ranked = {name: effects[:, column] for name, effects in predicted.items()}
    curves = [
        CurveRow.of(name, toc(effects, scores, letter, cluster), causal=True)
        for name, effects in ranked.items()
    ]
    turnout = test.select(PAST_VOTES).mean_horizontal().to_numpy()
    seldom = toc(-turnout, scores, letter, cluster)
    return Evaluation(
        wave="odd households",
        learned_on=("even households",),
        outcome=TURNOUT,
        level=0.95,
        n_units=test.height,
        policies=tuple(
            PolicyRow(
                policy.name,
                policy.describe(),
                EffectRow.of(policy.name, facts_of(compare(policy, nothing))),
            )
            for policy in (best, *rules.values(), at_random)
        ),
        contrasts=(*(contrast(rule, best) for rule in rules.values()), contrast(best, at_random)),
        message=letter,
        curves=(*curves, CurveRow.of("votes cast before, fewest first", seldom, causal=False)),
        spending=spending(predicted["forest"], scores, models["forest"].arms, cluster),
        calibration=tuple(
            CalibrationRow.of(
                name,
                facts_of(ww.evaluate.calibration(effects, scores.effect(letter), cluster=cluster)),
            )
            for name, effects in ranked.items()
        ),
        projection=projection_rows(
            ww.evaluate.best_linear_projection(X, scores.effect(letter), cluster=cluster)
            .to_frame()
            .to_dicts()
        ),
    )


def toc(priority: np.ndarray, scores: object, letter: str, cluster: np.ndarray) -> dict:
    return facts_of(ww.evaluate.toc(priority, scores.effect(letter), cluster=cluster))


def spending(predicted: np.ndarray, scores: object, arms: tuple, cluster: np.ndarray) -> tuple:
    """Gains at shares of voters who get a letter: chosen by the forest, and at random."""
    columns = np.column_stack([scores.effect(arm) for arm in arms])
    chosen = ww.evaluate.cost_curve(predicted, columns, cluster=cluster)
    alike = np.tile(predicted.mean(axis=0), (len(predicted), 1))
    at_random = ww.evaluate.cost_curve(alike, columns, cluster=cluster)
    return tuple(
        SpendRow.of(
            spend,
            facts_of(chosen.gain(spend)),
            facts_of(at_random.gain(spend)),
            facts_of(chosen.difference(at_random, spend)),
        )
        for spend in SPENDS
    )


def wave(name: str, title: str, data: pl.DataFrame) -> WaveContents:
    counts = dict(data["arm"].value_counts().iter_rows())
    texts = {"control": "no letter"} | LETTERS
    rows = tuple(
        ArmRow(arm, text, SHARES[arm], counts[arm], counts[arm]) for arm, text in texts.items()
    )
    return WaveContents(name, title, "closed", rows, allocation="as the authors drew them")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:4]))

"""The words that a report uses, each explained in a sentence or two."""

__all__ = ["glossary"]

_ALWAYS = (
    (
        "Arm, control",
        "What a unit can be assigned to. Control is the arm that gets no message; "
        "every effect is a difference from it.",
    ),
    (
        "Share",
        "The fraction of a wave that was to go to an arm. Counts differ from it by less than "
        "one unit, or one cluster.",
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
        "Over many repetitions of the experiment, intervals made this way hold the true effect "
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
        "picked for being highest. Its interval is not corrected for that unless the table says "
        "so.",
    ),
)

_POSTERIOR = (
    (
        "Posterior, credible interval",
        "What the model believes after seeing the data. Given the model, the true value lies in "
        "the interval with the stated probability. HPD is the shortest such interval; "
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
        "An allocation rule that gives arms which may yet be best, but are not known to be, more "
        "of the next wave: shares in proportion to p(1 \u2212 p), with p the probability of being "
        "best.",
    ),
)


_POLICIES = (
    (
        "Policy, fresh outcomes",
        "A rule that gives each unit a message from what was known of it before. It was frozen "
        "before the test began, and is tested on outcomes that came later: on the outcomes that "
        "taught it, every rule looks better than it is.",
    ),
    (
        "Personalization, targeting",
        "Which message to send to whom; and whether to message somebody at all.",
    ),
    (
        "Doubly robust",
        "An estimate from all units: each counts for every policy that would have sent it the "
        "message that it got, weighted by the probability of that, which is known.",
    ),
    (
        "AUTOC, Qini",
        "How much more those gain who are ranked first, averaged over how many are messaged. 0 "
        "says that the ranking is worth nothing.",
    ),
)


_DELIVERIES = (
    (
        "Effect on those reached",
        "The effect on units that receive a message because they were assigned to it and would "
        "not have otherwise (complier average causal effect). Who was reached is never compared "
        "with who was not: they differ in more than the message.",
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
    return _ALWAYS + tuple(word for words, shown in parts if shown for word in words)

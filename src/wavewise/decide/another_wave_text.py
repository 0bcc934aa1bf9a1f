"""The sentence of a decision to stop or to go on, from the same numbers."""

from wavewise.decide.foresight import Foresight
from wavewise.decide.stakes import Stakes

__all__ = ["sentence"]


def sentence(
    verdict: str,
    arm: str,
    stakes: Stakes,
    regret: float,
    reduction: float,
    ahead: Foresight,
    error: float,
) -> str:
    """What to do and why, in plain words.

    Parameters
    ----------
    verdict : {"go on", "stop", "too close to call"}
    arm : str
        Today's choice.
    stakes : Stakes
    regret, reduction : float
        What today's choice is expected to lose, and what the wave is expected to gain of it.
    ahead : Foresight
    error : float
        Monte-Carlo standard error of the gain in money.
    """
    today = f"Choosing {arm} today is expected to lose {regret:.2g} in units of the outcome"
    if regret == 0:
        return (
            f"Stop: {today.replace('lose 0', 'lose nothing')}, so that there is nothing to learn."
        )
    start = {"go on": "Go on", "stop": "Stop"}.get(verdict, "Too close to call")
    gain = stakes.worth(reduction)
    compare = {"go on": "more than", "stop": "not more than"}.get(verdict, "about")
    text = (
        f"{start}: a wave of {stakes.n_next:,} units is expected to gain {_money(gain)} for "
        f"{stakes.beneficiaries:,.0f} beneficiaries, {compare} its cost of {_money(stakes.cost)}. "
        f"{today}; the wave recovers {reduction:.2g} of it, and changes the choice with "
        f"probability {ahead.prob_change:.2g}."
    )
    if stakes.worth(regret) <= stakes.cost:
        most = _money(stakes.worth(regret))
        text += f" Even perfect knowledge would be worth no more than {most}."
    if error > 0:
        text += f" The gain is known to +- {error:.2g} (one Monte-Carlo standard error)."
    if verdict == "too close to call":
        text += " Simulate with more draws, or decide on other grounds."
    return text


def _money(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"

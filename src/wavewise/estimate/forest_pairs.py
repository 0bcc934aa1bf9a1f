"""Ordered pairs of messages as two factors: names such as ``teacher+peers``."""

import numpy as np

from wavewise.errors import InputError
from wavewise.results import IntArray

__all__ = ["pair_factors"]


def pair_factors(arms: tuple[str, ...]) -> IntArray:
    """Margins of each arm's first and second message, (2, n_arms); the control's are not used.

    First messages are numbered by the place of their first arm, second messages after them.

    Raises
    ------
    InputError
        A name that is not two messages with a plus sign between them.
    """
    pairs = [tuple(name.split("+")) for name in arms[1:]]
    wrong = [name for name, pair in zip(arms[1:], pairs, strict=True) if len(pair) != 2]
    if wrong:
        raise InputError(
            f"pairs: found arms {', '.join(map(repr, wrong))}; needed every arm but the control "
            "named like 'first+second'; rename them, or leave pairs out"
        )
    factor = np.zeros((2, len(arms)), np.int64)
    n_margins = 0
    for which in range(2):
        known: dict[str, int] = {}
        for k, pair in enumerate(pairs):
            factor[which, k + 1] = known.setdefault(pair[which], n_margins + len(known))
        n_margins += len(known)
    return factor

"""What is at stake in another wave: its costs, and who gains how much from a better choice."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wavewise.errors import InputError
from wavewise.results import FloatArray

__all__ = ["Stakes"]


@dataclass(frozen=True)
class Stakes:
    """Costs of another wave and the worth of a better choice, in the same money.

    Parameters
    ----------
    n_next : int
        Units in the next wave.
    cost_per_unit, cost_per_wave : float
    beneficiaries : float
        How many will get the chosen arm.
    value_per_success : float
        Worth of one success, or of one unit of the outcome, to one of them.

    Raises
    ------
    InputError
        A number that is negative or not finite, or no whole number of units.
    """

    n_next: int
    cost_per_unit: float
    cost_per_wave: float
    beneficiaries: float
    value_per_success: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name}: found {value}; needed a finite number of at least 0")
        if self.n_next != int(self.n_next) or self.n_next < 1:
            raise InputError(
                f"n_next: found {self.n_next}; needed a whole number of units, 1 or more"
            )

    @property
    def cost(self) -> float:
        """Of the whole wave."""
        return float(self.cost_per_wave + self.cost_per_unit * self.n_next)

    def worth(self, per_beneficiary: float) -> float:
        """Money for a gain in the outcome of every beneficiary."""
        return float(self.beneficiaries * self.value_per_success * per_beneficiary)

    def to_array(self) -> FloatArray:
        """The five numbers, (5,)."""
        return np.array(list(asdict(self).values()), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The stakes as plain values, for JSON."""
        return {**{name: float(value) for name, value in asdict(self).items()}, **self._whole()}

    def _whole(self) -> dict[str, int]:
        return {"n_next": int(self.n_next)}

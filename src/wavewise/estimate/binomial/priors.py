"""Priors of the hierarchical binomial model: on the arms' coefficients and on the cluster sd."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from wavewise.errors import InputError
from wavewise.shared.results import BoolArray, FloatArray, Record

__all__ = [
    "FLAT",
    "INVERSE_CHI_SQUARE",
    "NORMAL",
    "STUDENT_T",
    "STUDY_PRIORS",
    "BinomialPrior",
    "Flat",
    "HalfNormal",
    "HalfT",
    "InverseChiSquare",
    "Normal",
    "StudentT",
]


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"prior: found {name} {value:g}; needed a finite number above 0")


@dataclass(frozen=True)
class Flat(Record):
    """Improper prior p(beta) = 1: proper results need a success and a failure in every arm."""

    def log_density(self, beta: FloatArray) -> FloatArray:
        """Log density up to a constant, of the shape of beta."""
        return np.zeros_like(beta)

    def slopes(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log density."""
        return np.zeros_like(beta), np.zeros_like(beta)

    def __str__(self) -> str:
        return "flat"


@dataclass(frozen=True)
class Normal(Record):
    """Normal prior on an arm's beta, around 0 unless told, on the log-odds scale."""

    sd: float = 10.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        _positive("sd", self.sd)
        if not math.isfinite(self.mean):
            raise InputError(f"prior: found mean {self.mean:g}; needed a finite number")

    def log_density(self, beta: FloatArray) -> FloatArray:
        """Log density up to a constant, of the shape of beta."""
        return -0.5 * ((beta - self.mean) / self.sd) ** 2

    def slopes(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log density."""
        return (self.mean - beta) / self.sd**2, np.full_like(beta, -1 / self.sd**2)

    def __str__(self) -> str:
        return f"normal({self.mean:g}, {self.sd:g})"


@dataclass(frozen=True)
class StudentT(Record):
    """Student t prior on each arm's beta, around 0, on the log-odds scale."""

    df: float = 1.0
    scale: float = 10.0

    def __post_init__(self) -> None:
        _positive("df", self.df)
        _positive("scale", self.scale)

    def log_density(self, beta: FloatArray) -> FloatArray:
        """Log density up to a constant, of the shape of beta."""
        return -0.5 * (self.df + 1) * np.log1p((beta / self.scale) ** 2 / self.df)

    def slopes(self, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log density."""
        squared, spread = beta**2, self.df * self.scale**2
        first = -(self.df + 1) * beta / (spread + squared)
        return first, -(self.df + 1) * (spread - squared) / (spread + squared) ** 2

    def __str__(self) -> str:
        return f"Student t({self.df:g}, 0, {self.scale:g})"


@dataclass(frozen=True)
class HalfNormal(Record):
    """Half-normal prior on kappa: its density is highest, and flat, at 0."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        _positive("scale", self.scale)

    def log_density(self, kappa: FloatArray) -> FloatArray:
        """Log density up to a constant, of the shape of kappa."""
        return -0.5 * (kappa / self.scale) ** 2

    def slopes(self, kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log density."""
        return -kappa / self.scale**2, np.full_like(kappa, -1 / self.scale**2)

    def __str__(self) -> str:
        return f"half-normal({self.scale:g})"


@dataclass(frozen=True)
class HalfT(Record):
    """Half Student t prior on kappa."""

    df: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _positive("df", self.df)
        _positive("scale", self.scale)

    def log_density(self, kappa: FloatArray) -> FloatArray:
        """Log density up to a constant, of the shape of kappa."""
        return StudentT(self.df, self.scale).log_density(kappa)

    def slopes(self, kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log density."""
        return StudentT(self.df, self.scale).slopes(kappa)

    def __str__(self) -> str:
        return f"half-t({self.df:g}, {self.scale:g})"


@dataclass(frozen=True)
class InverseChiSquare(Record):
    """Inverse chi-square prior on kappa itself: p(kappa) ~ kappa^(-df/2 - 1) exp(-1 / (2 kappa)).

    It allows no kappa near 0, and large ones freely.
    """

    df: float = 1.0

    def __post_init__(self) -> None:
        _positive("df", self.df)

    def log_density(self, kappa: FloatArray) -> FloatArray:
        """Log density up to a constant, of the shape of kappa."""
        return -(self.df / 2 + 1) * np.log(kappa) - 0.5 / kappa

    def slopes(self, kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        """First and second derivative of the log density."""
        power = self.df / 2 + 1
        return -power / kappa + 0.5 / kappa**2, power / kappa**2 - 1 / kappa**3

    def __str__(self) -> str:
        return f"inverse chi-square({self.df:g})"


OnBeta: TypeAlias = Flat | Normal | StudentT
OnKappa: TypeAlias = HalfNormal | HalfT | InverseChiSquare
# numbers of the families in compiled code
FLAT, NORMAL, STUDENT_T, INVERSE_CHI_SQUARE = 0.0, 1.0, 2.0, 3.0


def _code(part: OnBeta | OnKappa) -> tuple[float, float, float, float]:
    match part:
        case Flat():
            return FLAT, 0.0, 1.0, 0.0
        case Normal():
            return NORMAL, 0.0, part.sd, part.mean
        case HalfNormal():
            return NORMAL, 0.0, part.scale, 0.0
        case StudentT() | HalfT():
            return STUDENT_T, part.df, part.scale, 0.0
        case InverseChiSquare():
            return INVERSE_CHI_SQUARE, part.df, 1.0, 0.0


@dataclass(frozen=True)
class BinomialPrior(Record):
    """Priors on the arms' coefficients and on the standard deviation of the cluster effects.

    Parameters
    ----------
    beta : Flat, Normal or StudentT, or a mapping of arm to one of them
        Independent over arms, on the log-odds scale: the same for every arm, or of the arms that
        are named, the others flat. What an earlier study found of an arm is `Normal(sd, mean)`
        with the posterior mean and standard deviation of its beta.
    kappa : HalfNormal, HalfT or InverseChiSquare

    Examples
    --------
    >>> print(BinomialPrior(beta=Normal(1)))
    beta: normal(0, 1); kappa: half-normal(1)
    """

    beta: OnBeta | Mapping[str, OnBeta] = Flat()
    kappa: OnKappa = HalfNormal()

    def __post_init__(self) -> None:
        parts: list[Any] = self._parts
        wrong = [type(part).__name__ for part in parts if not isinstance(part, OnBeta)]
        if wrong:
            raise InputError(f"prior: found {wrong[0]} on beta; needed Flat, Normal or StudentT")
        if not isinstance(self.kappa, OnKappa):
            raise InputError(
                f"prior: found {type(self.kappa).__name__} on kappa; needed HalfNormal, HalfT or "
                "InverseChiSquare"
            )

    def of_arms(self, arms: Sequence[str]) -> "BinomialPrior":
        """The same with a prior for each of these arms, in their order, where arms differ."""
        if not isinstance(self.beta, Mapping):
            return self
        unknown = sorted(set(self.beta) - set(arms))
        if unknown:
            raise InputError(
                f"prior: found a prior of {', '.join(unknown)}; needed arms of the data: "
                f"{', '.join(arms)}"
            )
        return BinomialPrior({arm: self.beta.get(arm, Flat()) for arm in arms}, self.kappa)

    @property
    def _parts(self) -> list[OnBeta]:
        """The prior on beta, or that of each arm."""
        return list(self.beta.values()) if isinstance(self.beta, Mapping) else [self.beta]

    def is_flat(self, n_arms: int) -> BoolArray:
        """Whether the prior on an arm's beta is improper, (n_arms,)."""
        flat = [isinstance(part, Flat) for part in self._parts]
        return np.array(flat * n_arms if len(flat) == 1 else flat)[:n_arms]

    @property
    def code(self) -> FloatArray:
        """The priors as numbers for compiled code: kind, df, scale and center.

        Of beta, or of each arm's beta; then of kappa.
        """
        return np.array([number for part in (*self._parts, self.kappa) for number in _code(part)])

    def log_density(self, points: FloatArray) -> FloatArray:
        """Log density in (beta, log kappa) up to a constant, (n_points,).

        Parameters
        ----------
        points : (n_points, n_arms + 1) array of float
        """
        log_kappa, beta = points[:, -1], points[:, :-1]
        if isinstance(self.beta, Mapping):
            each = [part.log_density(beta[:, k]) for k, part in enumerate(self._parts)]
            on_beta = np.sum(each, axis=0)
        else:
            on_beta = self.beta.log_density(beta).sum(axis=1)
        return np.asarray(on_beta + self.kappa.log_density(np.exp(log_kappa)) + log_kappa)

    def to_dict(self) -> dict[str, Any]:
        """The priors as plain values, for JSON."""
        beta = (
            {arm: _family(part) for arm, part in self.beta.items()}
            if isinstance(self.beta, Mapping)
            else _family(self.beta)
        )
        return {"beta": beta, "kappa": _family(self.kappa)}

    def __str__(self) -> str:
        if not isinstance(self.beta, Mapping):
            return f"beta: {self.beta}; kappa: {self.kappa}"
        each = ", ".join(f"{arm} {part}" for arm, part in self.beta.items())
        return f"beta: {each}; kappa: {self.kappa}"


def _family(part: OnBeta | OnKappa) -> dict[str, Any]:
    return {"family": type(part).__name__, **vars(part)}


# the study's own prior first, then each alternative that it tried, one at a time
STUDY_PRIORS: tuple[BinomialPrior, ...] = (
    BinomialPrior(),
    BinomialPrior(beta=Normal(10)),
    BinomialPrior(beta=StudentT(1, 10)),
    BinomialPrior(beta=Normal(1)),
    BinomialPrior(beta=StudentT(1, 1)),
    BinomialPrior(kappa=HalfNormal(10)),
    BinomialPrior(kappa=InverseChiSquare(1)),
    BinomialPrior(kappa=HalfT(1, 1)),
)

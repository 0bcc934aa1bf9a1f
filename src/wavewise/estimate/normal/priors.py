"""Priors of the normal model's standard deviations and arm effects."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from scipy import special

from wavewise.errors import Fault, InputError
from wavewise.shared.results import FloatArray, Record

__all__ = ["COMPONENTS", "NormalPriors", "SdPrior", "scaled_priors", "study_priors", "tried_priors"]

SdFamily = Literal["half-normal", "half-t", "inverse-chi-square"]
COMPONENTS = ("cluster", "unit", "noise", "period")


@dataclass(frozen=True)
class SdPrior(Record):
    """Prior of a standard deviation s > 0.

    Parameters
    ----------
    family : {"half-normal", "half-t", "inverse-chi-square"}
        s / scale is distributed as the absolute value of a standard normal or Student t number, or
        as inverse chi-square.
    scale : float
        Above 0, in units of the score or, in relative priors, of its standard deviation.
    df : float
        Degrees of freedom of the last two.

    Examples
    --------
    >>> SdPrior("half-normal", 2.0).log_density(np.array([0.0, 2.0])).round(3).tolist()
    [-0.919, -1.419]
    """

    family: SdFamily = "half-normal"
    scale: float = 1.0
    df: float = 1.0

    def log_density(self, sd: FloatArray) -> FloatArray:
        """Log density at each standard deviation, the shape of `sd`."""
        z = np.asarray(sd, dtype=np.float64) / self.scale
        return np.asarray(self._standard(z) - np.log(self.scale))

    def _standard(self, z: FloatArray) -> FloatArray:
        nu = self.df
        if self.family == "half-normal":
            return np.asarray(0.5 * np.log(2 / np.pi) - 0.5 * z**2)
        if self.family == "half-t":
            constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2)
            constant += np.log(2) - 0.5 * np.log(nu * np.pi)
            return np.asarray(constant - (nu + 1) / 2 * np.log1p(z**2 / nu))
        constant = -nu / 2 * np.log(2) - special.gammaln(nu / 2)
        return np.asarray(constant - (nu / 2 + 1) * np.log(z) - 0.5 / z)

    def faults(self, path: str) -> list[Fault]:
        """What is wrong with the prior, if anything."""
        found = []
        if self.family not in get_args(SdFamily):
            needed = "one of " + ", ".join(get_args(SdFamily))
            found.append(Fault(f"{path}.family", repr(self.family), needed))
        for name in ("scale", "df"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                found.append(Fault(f"{path}.{name}", f"{value}", "a finite number above 0"))
        return found

    def __str__(self) -> str:
        inside = (
            f"{self.scale:g}" if self.family == "half-normal" else f"{self.df:g}, {self.scale:g}"
        )
        return f"{self.family}({inside})"


@dataclass(frozen=True)
class NormalPriors(Record):
    """Priors of the hierarchical normal model.

    Parameters
    ----------
    cluster, unit, noise, period : SdPrior
        Of the standard deviations kappa, phi, sigma and rho of equation (3).
    effect_sd : float or None
        Standard deviation of a normal prior around 0 on each arm effect, or with `effect_df` the
        scale of a Student t one; None is flat. The constant is always flat.
    effect_df : float or None
        Degrees of freedom of a Student t prior on each arm effect.
    relative : bool
        Whether every scale counts standard deviations of the score, so that words and points give
        the same answer, or the score's own units.
    """

    cluster: SdPrior = SdPrior()
    unit: SdPrior = SdPrior()
    noise: SdPrior = SdPrior()
    period: SdPrior = SdPrior(scale=0.25)
    effect_sd: float | None = None
    relative: bool = True
    effect_df: float | None = None

    def in_units(self, score_sd: float) -> "NormalPriors":
        """The same priors for a score that was divided by its standard deviation."""
        if self.relative:
            return self
        scaled: dict[str, Any] = {c: self._divided(getattr(self, c), score_sd) for c in COMPONENTS}
        effect_sd = None if self.effect_sd is None else self.effect_sd / score_sd
        return replace(self, **scaled, effect_sd=effect_sd, relative=True)

    @staticmethod
    def _divided(prior: SdPrior, by: float) -> SdPrior:
        return replace(prior, scale=prior.scale / by)

    def log_density(self, sds: FloatArray) -> FloatArray:
        """Log prior density of (kappa, phi, sigma, rho), shape (n_points, 4) to (n_points,)."""
        columns = [getattr(self, c).log_density(sds[:, j]) for j, c in enumerate(COMPONENTS)]
        return np.asarray(np.sum(columns, axis=0))

    def check(self) -> None:
        """Nothing, if every number makes sense.

        Raises
        ------
        InputError
            A family that is not known, a scale or degrees of freedom not above 0.
        """
        faults = [fault for c in COMPONENTS for fault in getattr(self, c).faults(f"prior.{c}")]
        if self.effect_sd is not None and not (np.isfinite(self.effect_sd) and self.effect_sd > 0):
            faults.append(
                Fault("prior.effect_sd", f"{self.effect_sd}", "above 0, or None for flat")
            )
        if self.effect_df is not None:
            if not (np.isfinite(self.effect_df) and self.effect_df > 0):
                faults.append(Fault("prior.effect_df", f"{self.effect_df}", "above 0, or None"))
            if self.effect_sd is None:
                faults.append(Fault("prior.effect_sd", "None", "a scale beside effect_df"))
        if faults:
            raise InputError(f"prior: found {len(faults)} errors; needed none", faults)

    def __str__(self) -> str:
        each = [str(getattr(self, c)) for c in COMPONENTS]
        sds = ", ".join(f"{c} {prior}" for c, prior in zip(COMPONENTS, each, strict=True))
        if len(set(each)) == 1:
            sds = f"all {each[0]}"
        effects = "flat" if self.effect_sd is None else f"normal(0, {self.effect_sd:g})"
        if self.effect_df is not None:
            effects = f"Student t({self.effect_df:g}, 0, {self.effect_sd:g})"
        unit = "standard deviations of the score" if self.relative else "the score's units"
        return f"effects {effects}; sd of {sds}; in {unit}"

    def to_dict(self) -> dict[str, Any]:
        """The priors as plain values, for JSON."""
        sds = {c: dict(vars(getattr(self, c))) for c in COMPONENTS}
        effects = {"effect_sd": self.effect_sd, "effect_df": self.effect_df}
        return {"version": 1, **sds, **effects, "relative": self.relative}


def scaled_priors() -> NormalPriors:
    """Default: half-normal on each sd, scale 1 (period: 0.25) standard deviations of the score."""
    return NormalPriors()


def study_priors(effect_sd: float | None = None, effect_df: float | None = None) -> NormalPriors:
    """The published study's: half-normal(0, 1) on each sd in the score's own units.

    Parameters
    ----------
    effect_sd, effect_df : float, optional
        Of the prior on the effects, as in `NormalPriors`; by default flat, as in the study.

    Notes
    -----
    With words a minute, whose standard deviations are near 10 and 20, this prior pulls them
    strongly towards 0; see the method page.
    """
    return _alike(SdPrior(), effect_sd, effect_df)


def _alike(
    sd: SdPrior, effect_sd: float | None = None, effect_df: float | None = None
) -> NormalPriors:
    """One prior on every standard deviation, in the score's own units."""
    return NormalPriors(
        cluster=sd, unit=sd, noise=sd, period=sd,
        effect_sd=effect_sd, effect_df=effect_df, relative=False,
    )  # fmt: skip


def tried_priors() -> tuple[NormalPriors, ...]:
    """The default, the study's prior, and the alternatives that the study tried for engagement.

    On the effects normal with variance 100 or 1 and Student t with 1 degree of freedom and scale 10
    or 1; on the standard deviations half-normal with variance 100, half-t and inverse chi-square
    with 1 degree of freedom; all in the score's own units.
    """
    return (
        scaled_priors(),
        study_priors(),
        study_priors(effect_sd=10.0),
        study_priors(effect_sd=1.0),
        study_priors(effect_sd=10.0, effect_df=1.0),
        study_priors(effect_sd=1.0, effect_df=1.0),
        _alike(SdPrior("half-normal", 10.0)),
        _alike(SdPrior("half-t", 1.0)),
        _alike(SdPrior("inverse-chi-square", 1.0)),
    )

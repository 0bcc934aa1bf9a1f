"""A frozen policy: a rule from covariates to an arm, with its name, its hash and its origin."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from wavewise._version import __version__
from wavewise.decide.policy_rules import FixedRule, ModelRule, Rule
from wavewise.errors import DecisionError, InputError
from wavewise.results import FloatArray, StrArray, hash_arrays, read_only

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Policy", "load_policy"]

_FORM = "wavewise policy 1"


def _no_rows() -> npt.NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Policy:
    """A rule from covariates to an arm that does not change any more.

    Parameters
    ----------
    name : str
    rule : Rule
    trained_on : str or None
        SHA-256 of what it was learned from; None where nothing was learned.
    trained_rows : array of uint64, shape (n_units,)
        Sorted fingerprints of the units it was learned from; empty where they are not known.
    version : str
        Version of Wavewise that made it.
    """

    name: str
    rule: Rule
    trained_on: str | None = None
    trained_rows: npt.NDArray[np.uint64] = field(default_factory=_no_rows)
    version: str = __version__

    @property
    def kind(self) -> str:
        """Kind of rule: ``fixed``, ``model`` or ``tree``."""
        return self.rule.kind

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that it can give."""
        return self.rule.arms

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that it needs, by name; more are allowed."""
        return self.rule.covariates

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the rule and its name: equal for a policy and its reloaded file."""
        text, arrays = self._parts()
        body = json.dumps(text, sort_keys=True, ensure_ascii=False).encode()
        return hash_arrays(text=np.frombuffer(body, dtype=np.uint8), **arrays)

    def probabilities(self, X: Any) -> FloatArray:
        """Probability of each arm, shape (n_units, n_arms), in the order of `arms`."""
        return read_only(self.rule.probabilities(X))

    def assign(self, X: Any, rng: "Generator | None" = None) -> StrArray:
        """Arm of each unit, shape (n_units,).

        Parameters
        ----------
        X : array-like, shape (n_units, n_covariates); mapping; or frame
            Covariates; for a rule that needs none, anything with one row a unit.
        rng : numpy.random.Generator, optional
            Needed only where the rule leaves something to chance.

        Raises
        ------
        InputError
            Where a covariate is lacking, or chance is needed and no generator given.
        """
        return self._draw(np.asarray(self.rule.probabilities(X)), rng)

    def probabilities_oob(self) -> FloatArray:
        """Probabilities for the units that it learned from, each by the model without that unit.

        Raises
        ------
        DecisionError
            Where the rule has no out-of-bag form.
        """
        if isinstance(self.rule, FixedRule):
            raise DecisionError(f"policy '{self.name}' learned from no units: use probabilities(X)")
        if not isinstance(self.rule, ModelRule):
            raise DecisionError(
                f"policy '{self.name}' is a {self.kind}, which has no out-of-bag form; evaluate it "
                "on units that it did not learn from"
            )
        return read_only(self.rule.probabilities_oob())

    def assign_oob(self, rng: "Generator | None" = None) -> StrArray:
        """Arm of each unit that it learned from, by the model without that unit, (n_units,)."""
        return self._draw(self.probabilities_oob(), rng)

    def _draw(self, probabilities: FloatArray, rng: "Generator | None") -> StrArray:
        names = np.array(self.arms)
        if not ((probabilities > 0) & (probabilities < 1)).any():
            return np.asarray(names[np.argmax(probabilities, axis=1)])
        if rng is None:
            raise InputError(
                f"policy '{self.name}' leaves arms to chance ({self.describe()}); give "
                "rng=numpy.random.default_rng(seed)"
            )
        upper = np.cumsum(probabilities, axis=1)
        upper[:, -1] = np.inf
        drawn = np.argmax(rng.random((upper.shape[0], 1)) < upper, axis=1)
        return np.asarray(names[drawn])

    def describe(self) -> str:
        """The rule in plain words."""
        return self.rule.describe()

    def summary(self) -> str:
        """Name, rule, what it needs and what it was learned from."""
        needs = ", ".join(self.covariates) or "no covariates"
        origin = f"data {self.trained_on[:12]}" if self.trained_on else "nothing"
        return (
            f"Policy {self.name}: {self.describe()}.\nNeeds {needs}. Learned from {origin}. "
            f"Hash {self.hash[:12]}, Wavewise {self.version}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The policy as plain values, for JSON, without the model's arrays."""
        return {
            "version": 1,
            "kind": f"{self.kind} policy",
            "name": self.name,
            "arms": list(self.arms),
            "covariates": list(self.covariates),
            "rule": self.rule.to_dict(),
            "text": self.describe(),
            "hash": self.hash,
            "trained_on": self.trained_on,
            "made_by": self.version,
        }

    def _parts(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        text = {
            "form": _FORM,
            "kind": self.kind,
            "name": self.name,
            "rule": self.rule.to_dict(),
            "trained_on": self.trained_on,
            "made_by": self.version,
        }
        return text, {"trained_rows": self.trained_rows, **self.rule.to_arrays()}

    def to_bytes(self) -> bytes:
        """The policy as the bytes of a plain file (an npz archive without pickle)."""
        text, arrays = self._parts()
        body = json.dumps({**text, "hash": self.hash}, sort_keys=True, ensure_ascii=False)
        file = BytesIO()
        np.savez(file, policy=np.frombuffer(body.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    def save(self, path: "str | Path | BinaryIO") -> None:
        """Write the policy to a plain file; a matcher's holds its units' data, without ids."""
        if isinstance(path, str | Path):
            Path(path).write_bytes(self.to_bytes())
        else:
            path.write(self.to_bytes())


def load_policy(path: "str | Path | BinaryIO") -> Policy:
    """A policy from its file; it assigns as the saved one did.

    Raises
    ------
    InputError
        Where the file is no policy, or was changed since it was written.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = json.loads(arrays.pop("policy").tobytes())
        if not isinstance(text, dict) or text.get("form") != _FORM:
            raise InputError(f"policy: found a file of another form; needed {_FORM!r}")
        policy = Policy(
            name=text["name"],
            rule=_rule(text["kind"]).from_parts(text["rule"], arrays),
            trained_on=text["trained_on"],
            trained_rows=read_only(arrays["trained_rows"]),
            version=text["made_by"],
        )
    except (BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError("policy: the file is not one that Policy.save wrote") from error
    if policy.hash != text["hash"]:
        raise InputError(
            "policy: the file was changed since it was written: its hash differs; needed the file "
            "as it was frozen"
        )
    return policy


def _rule(kind: str) -> Any:
    if kind == "tree":
        from wavewise.decide.policy_tree_rule import TreeRule  # noqa: PLC0415 (only trees need it)

        return TreeRule
    kinds = {"fixed": FixedRule, "model": ModelRule}
    if kind not in kinds:
        raise InputError(f"policy: found the kind {kind!r}; needed fixed, model or tree")
    return kinds[kind]

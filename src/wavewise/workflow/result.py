"""What verbs give back: a text for people, the same facts for machines."""

from dataclasses import fields
from html import escape
from typing import Any

from wavewise.shared.results import Result

__all__ = ["VerbResult"]


class VerbResult(Result):
    """What a verb did: ``summary()`` is what the command line prints, ``facts()`` its JSON."""

    def __init_subclass__(cls, **named: Any) -> None:
        # a verb's result may bear the name of the estimate that it holds
        super().__init_subclass__(**{"tag": f"verb {cls.__name__}", **named})

    def facts(self) -> dict[str, Any]:
        """What was done, as plain values: the fields, unless a verb says more."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.summary())}</pre>"

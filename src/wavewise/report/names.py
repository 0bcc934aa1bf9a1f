"""File names of figures: letters, digits and hyphens, each used once."""

import re

__all__ = ["Names"]


class Names:
    """Names that were given out, so that none is given twice.

    Examples
    --------
    >>> names = Names()
    >>> names.new("effects-log in"), names.new("effects-log.in")
    ('effects-log-in', 'effects-log-in-2')
    """

    def __init__(self) -> None:
        self._used: set[str] = set()

    def new(self, text: str) -> str:
        """A name close to a text."""
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"
        name, n = stem, 1
        while name in self._used:
            n += 1
            name = f"{stem}-{n}"
        self._used.add(name)
        return name

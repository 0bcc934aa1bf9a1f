"""Study files to begin from, one for each kind of study that Wavewise knows."""

from importlib.resources import files

from wavewise.errors import InputError

__all__ = ["template_names", "template_summary", "template_text"]

_TEMPLATES = {
    "peru-school-year": "16 ordered pairs of push messages, then policies tested out of sample",
    "peru-summer": "4 single push messages, then policies tested out of sample",
    "kenya-ivr": "6 formats of interactive calls in two waves with exploration sampling",
    "get-out-the-vote": "an experiment that ran elsewhere: 4 letters, randomized by household",
}


def template_names() -> tuple[str, ...]:
    """Names of the templates."""
    return tuple(_TEMPLATES)


def template_summary(name: str) -> str:
    """What a template is, in one line."""
    if name not in _TEMPLATES:
        names = ", ".join(_TEMPLATES)
        raise InputError(f"found template '{name}'; needed one of {names}; choose one of them")
    return _TEMPLATES[name]


def template_text(name: str) -> str:
    """Text of a template: a complete, valid study file.

    Raises
    ------
    InputError
        If there is no such template.

    Examples
    --------
    >>> template_text("kenya-ivr").splitlines()[0].startswith("#")
    True
    """
    template_summary(name)
    return files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")

"""Study files to begin from, one for each kind of study that Wavewise knows; some with data."""

from importlib.resources import files

from wavewise.errors import InputError

__all__ = ["template_files", "template_names", "template_summary", "template_text"]

_TEMPLATES = {
    "peru-school-year": "16 ordered pairs of push messages, then policies tested out of sample",
    "peru-summer": "4 single push messages, then policies tested out of sample",
    "kenya-ivr": "6 formats of interactive calls in two waves with exploration sampling",
    "sms-two-waves": "3 text messages in two waves, the second adapts; with data to run it on",
    "email-one-wave": "2 e-mails against none in one wave; with data to run it on",
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


def template_files(name: str) -> dict[str, str]:
    """Name and text of the files beside a template's study file: people, events, channels."""
    template_summary(name)
    folder = files(__name__).joinpath(name)
    if not folder.is_dir():
        return {}
    found = sorted(folder.iterdir(), key=lambda item: item.name)
    return {item.name: item.read_text(encoding="utf-8") for item in found}

"""The template environment of every page that Wavewise writes."""

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["environment"]


def environment() -> Environment:
    """Templates of this package; values are escaped, a name that is missing is an error."""
    return Environment(
        loader=PackageLoader("wavewise.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

"""The page: one self-contained HTML file, and its figures and numbers as files beside it."""

import json
from dataclasses import dataclass

from wavewise.report.contents import ReportContents
from wavewise.report.environment import environment
from wavewise.report.figures.draw import figure_files
from wavewise.report.views import page_view

__all__ = ["RenderedReport", "render"]


@dataclass(frozen=True)
class RenderedReport:
    """A report ready to be written.

    Parameters
    ----------
    html : str
        The page, which needs none of the files.
    files : dict of str to bytes
        Figures (``figures/NAME.svg``, ``.png``, ``.vl.json``) and the numbers of the whole report
        (``report.json``), by path.
    """

    html: str
    files: dict[str, bytes]


def render(contents: ReportContents) -> RenderedReport:
    """A report as one page and its figures; the same contents give the same bytes.

    Parameters
    ----------
    contents : ReportContents
        What to show.

    Returns
    -------
    RenderedReport
        The page as text, the files as bytes. Nothing is written.

    Examples
    --------
    >>> from wavewise.report import ArmRow, ReportContents, WaveContents, render
    >>> arms = (ArmRow("control", "no message", 0.5), ArmRow("reminder", "a text message", 0.5))
    >>> wave = WaveContents("wave-1", "First wave", "planned", arms)
    >>> page = render(ReportContents("Reminders", "reminders", "2024-03-01", "parents", (wave,)))
    >>> "Not known yet" in page.html
    True
    """
    view = page_view(contents)
    html = environment().get_template("index.html.j2").render(view=view, report=contents)
    files: dict[str, bytes] = {}
    for figure in view.figures:
        files |= figure_files(figure)
    text = json.dumps(contents.to_dict(), ensure_ascii=False, indent=1)
    files["report.json"] = f"{text}\n".encode()
    return RenderedReport(html, files)

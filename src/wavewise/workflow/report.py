"""``report``: the page and its figures, written into the study folder."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from wavewise.report import render
from wavewise.workflow.contents import report_contents
from wavewise.workflow.done import Done
from wavewise.workflow.study import Study

if TYPE_CHECKING:
    from wavewise.workflow.contents import SimulatedTruth

__all__ = ["REPORT_FOLDER", "write_report", "write_whole"]

REPORT_FOLDER = "report"


def write_report(
    study: Study,
    *,
    simulated: bool = False,
    truth: "SimulatedTruth | None" = None,
) -> Done:
    """Write ``report/index.html`` and its figures, made anew from the frozen data.

    Parameters
    ----------
    study : Study
        An open study.
    simulated : bool
        Marks the report of simulated data.
    truth : SimulatedTruth, optional
        The known truth of simulated data, shown beside the estimates.
    """
    contents = report_contents(study, simulated=simulated, truth=truth)
    rendered = render(contents)
    folder = study.folder / REPORT_FOLDER
    shutil.rmtree(folder / "figures", ignore_errors=True)
    for name, content in rendered.files.items():
        write_whole(folder / name, content)
    page = write_whole(folder / "index.html", rendered.html.encode())
    facts = {"page": str(page), "files": sorted(str(folder / name) for name in rendered.files)}
    return Done(f"Wrote {page} and {len(rendered.files)} figure files.", facts)


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file whole: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)
    return path

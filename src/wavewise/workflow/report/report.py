"""``report``: the page and its figures, written into the study folder."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from wavewise.errors import InputError, StateError
from wavewise.report import render
from wavewise.report.documents.contexts import Context, contexts_document
from wavewise.report.documents.document import html, markdown
from wavewise.shared.files import write_whole
from wavewise.workflow.report.contents import evaluations, report_contents
from wavewise.workflow.result import VerbResult
from wavewise.workflow.study import Study, open_study

if TYPE_CHECKING:
    from wavewise.workflow.report.contents import SimulatedTruth

__all__ = ["REPORT_FOLDER", "Comparison", "WrittenReport", "compare", "write_report"]

REPORT_FOLDER = "report"


@dataclass(frozen=True, eq=False)
class WrittenReport(VerbResult):
    """Where the report and its figures were written."""

    page: Path
    files: tuple[Path, ...]

    def summary(self) -> str:
        """Where the page is."""
        return f"Wrote {self.page} and {len(self.files)} figure files."

    def facts(self) -> dict[str, Any]:
        """The paths, as text."""
        return {"page": str(self.page), "files": sorted(str(path) for path in self.files)}

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame({"file": self.facts()["files"]})


@dataclass(frozen=True, eq=False)
class Comparison(VerbResult):
    """The evaluations of several studies side by side, on one page."""

    page: Path
    studies: tuple[Path, ...]
    text: str  # The page as Markdown.

    def summary(self) -> str:
        """The page as Markdown, and where it is."""
        return f"{self.text}\n\nPage: {self.page}"

    def facts(self) -> dict[str, Any]:
        """The paths, as text."""
        return {"page": str(self.page), "studies": [str(folder) for folder in self.studies]}

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame({"study": self.facts()["studies"]})


def write_report(
    study: Study,
    *,
    simulated: bool = False,
    rehearsal: bool = False,
    truth: "SimulatedTruth | None" = None,
) -> WrittenReport:
    """Write ``report/index.html`` and its figures, made anew from the frozen data."""
    contents = report_contents(study, simulated=simulated, truth=truth)
    rendered = render(replace(contents, rehearsal=rehearsal))
    folder = study.folder / REPORT_FOLDER
    shutil.rmtree(folder / "figures", ignore_errors=True)
    files = [write_whole(folder / name, content) for name, content in rendered.files.items()]
    return WrittenReport(write_whole(folder / "index.html", rendered.html.encode()), tuple(files))


def compare(folders: Sequence[Path], out: Path) -> Comparison:
    """Write one page that sets the last evaluation of each study side by side.

    Parameters
    ----------
    folders : sequence of Path
        Two or more study folders.
    out : Path
        Page to write.

    Raises
    ------
    InputError
        One study only, or studies of different outcomes.
    StateError
        A study whose policies were not evaluated yet.
    """
    if len(folders) < 2:
        raise InputError(f"found {len(folders)} study; needed two or more to compare")
    with ExitStack() as stack:
        studies = [stack.enter_context(open_study(folder, create=False)) for folder in folders]
        contexts = [_context(study) for study in studies]
    document = contexts_document("Choosing messages in different contexts", contexts)
    page = write_whole(out, html(document).encode())
    return Comparison(page, tuple(folders), markdown(document))


def _context(study: Study) -> Context:
    tested = evaluations(study)
    if not tested:
        raise StateError(
            f"{study.folder}: found no evaluation; needed one; close its wave of policies and run "
            f"`wavewise evaluate {study.folder} WAVE`"
        )
    return Context(study.spec.study.id, study.spec.units.name, tested[-1])

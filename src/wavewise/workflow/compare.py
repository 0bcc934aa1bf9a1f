"""``compare``: evaluations of several studies on one page."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from wavewise.errors import InputError, StateError
from wavewise.report.contexts import Context, contexts_document
from wavewise.report.document import html, markdown
from wavewise.workflow.done import Done
from wavewise.workflow.evaluation_contents import evaluations
from wavewise.workflow.study import Study, open_study

__all__ = ["compare"]


def compare(folders: Sequence[Path], out: Path) -> Done:
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
        studies = [stack.enter_context(open_study(folder)) for folder in folders]
        contexts = [_context(study) for study in studies]
    document = contexts_document("Choosing messages in different contexts", contexts)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    partial.write_text(html(document), encoding="utf-8")
    partial.replace(out)
    facts = {"page": str(out), "studies": [str(folder) for folder in folders]}
    return Done(f"{markdown(document)}\n\nPage: {out}", facts)


def _context(study: Study) -> Context:
    found = evaluations(study)
    if not found:
        raise StateError(
            f"{study.folder}: found no evaluation; needed one; close its wave of policies and run "
            f"`wavewise evaluate {study.folder} WAVE`"
        )
    return Context(study.spec.study.id, study.spec.units.name, found[-1])

"""`wavewise design`: the page, the print, the numbers, and what it refuses."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wavewise.cli import app
from wavewise.errors import UnavailableError
from wavewise.report.documents.document import Bullets, Document, Grid, Section, pdf, source

STAKES = """
[planning.another_wave]
cost_per_unit = 0.5
cost_per_wave = 300
beneficiaries = 200_000
value_per_success = 0.5
"""


def _run(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, list(words))
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("design") / "study"
    assert _run("init", str(folder), "--template", "kenya-ivr")[0] == 0
    file = folder / "study.toml"
    file.write_text(file.read_text(encoding="utf-8") + STAKES, encoding="utf-8")
    return folder


def test_page_print_and_numbers(study: Path) -> None:
    code, out, err = _run("design", str(study), "--simulations", "20", "--json")
    assert code == 0, err
    facts = json.loads(out)
    page = Path(facts["page"]).read_text(encoding="utf-8")
    for words in (
        "For the pre-analysis plan",
        "Adaptive or fixed design",
        "Number of waves",
        "<svg",
    ):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert Path(facts["pdf"]).read_bytes().startswith(b"%PDF")
    metrics = {row["metric"]: row for row in facts["comparison"]["designs"][0]["metrics"]}
    found = metrics["best_arm_found"]["value"]
    assert f"{100 * found:.1f} %" in page
    assert facts["plan"]["rows"][0]["net_benefit"] > facts["plan"]["rows"][-1]["net_benefit"]
    assert "heterogeneity" in facts["personalization"]["reason"]
    kept = list((study / "report" / "simulations").rglob("*.npz"))
    assert kept
    assert not list((study / "report").rglob("*.part"))


def test_without_typst_there_is_a_page_and_no_pdf(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    code, out, err = _run("design", str(study), "--simulations", "20")
    assert code == 0, err
    assert "pip install 'wavewise[pdf]'" in out
    assert (study / "report" / "design.html").exists()
    assert not (study / "report" / "design.pdf").exists()
    with pytest.raises(UnavailableError, match=r"wavewise\[pdf\]"):
        pdf(Document(kind="x", title="x", meta=(), notices=(), sections=()))


def test_again_from_what_was_kept_and_the_same(study: Path) -> None:
    first = _run("design", str(study), "--simulations", "20", "--json")[1]
    page = (study / "report" / "design.html").read_bytes()
    assert _run("design", str(study), "--simulations", "20", "--json")[1] == first
    assert (study / "report" / "design.html").read_bytes() == page


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget", "100"], "needs a budget of"),
        (["--spread", "0"], "no variance"),
        (["--total-days", "10"], "needed 32 or more"),
        (["--correlation", "1"], "such as 0.9"),
    ],
)
def test_what_no_simulation_can_mend_is_said_at_once(
    tmp_path: Path, options: list[str], words: str
) -> None:
    folder = tmp_path / "study"
    _run("init", str(folder), "--template", "kenya-ivr")
    file = folder / "study.toml"
    file.write_text(file.read_text(encoding="utf-8") + STAKES, encoding="utf-8")
    code, _, err = _run("design", str(folder), *options)
    assert code == 4
    assert words in err
    assert not (folder / "report").exists()


def test_policies_are_counted_by_all_conventions(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    _run("init", str(folder), "--template", "peru-summer")
    code, out, err = _run("design", str(folder), "--simulations", "20", "--json")
    assert code == 0, err
    power = next(one for name, one in json.loads(out)["power"].items() if "two policies" in name)
    rows = {row["convention"]: row for row in power["conventions"]}
    assert rows["treated part"]["mde_up"] == pytest.approx(0.0053, abs=1e-4)
    assert rows["whole arm"]["mde_up"] == pytest.approx(0.0037, abs=1e-4)


def test_no_text_is_code_in_print() -> None:
    """What typst would read as markup or code stays text."""
    nasty = '#panic("x") $a$ *b* _c_ \\ " @d <e> `f`'
    grid = Grid(nasty, (nasty, "n"), ((nasty, "1"),), frozenset({1}))
    sections = (Section(nasty, (nasty, Bullets((nasty,)), grid)),)
    document = Document(nasty, nasty, (nasty,), (nasty,), sections)
    assert pdf(document).startswith(b"%PDF")
    assert source(document).count('#panic(\\"x\\")') >= 8

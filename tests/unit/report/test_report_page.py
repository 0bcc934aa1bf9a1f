import json
import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from page_reader import read
from sample_contents import (
    LOGIN,
    Belief,
    MadeEffects,
    demo,
    effect,
    effects_on,
    get_out_the_vote,
    pairs,
    posterior,
)
from wavewise.report import (
    ArmRow,
    RenderedReport,
    ReportContents,
    WaveContents,
    render,
)
from wavewise.report.effects import pairs_matrix
from wavewise.shared.results import NotEstimable

Sample = Callable[[], ReportContents]
SAMPLES = {"demo": demo, "pairs": pairs, "get-out-the-vote": get_out_the_vote}


@pytest.fixture(scope="module")
def pages() -> dict[str, RenderedReport]:
    return {name: render(sample()) for name, sample in SAMPLES.items()}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_is_well_formed_and_stands_alone(
    pages: dict[str, RenderedReport], name: str
) -> None:
    page = pages[name]
    reader = read(page)
    assert max(Counter(reader.ids).values()) == 1
    assert re.findall(r"https?://", page.html) == []
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert {link[1:] for link in reader.links if link.startswith("#")} <= set(reader.ids)
    assert reader.tags["script"] == 0
    assert "url(" not in page.html.split("</style>")[0]
    assert len(page.html.encode()) < 2_000_000


@pytest.mark.parametrize("name", SAMPLES)
def test_every_drawing_has_a_text_alternative(pages: dict[str, RenderedReport], name: str) -> None:
    drawings = re.findall(r"<svg [^>]*>", pages[name].html)
    assert drawings
    for drawing in drawings:
        label = re.search(r'aria-labelledby="(\S+) (\S+)"', drawing)
        assert label
        assert 'role="img"' in drawing
        assert f'<title id="{label[1]}">' in pages[name].html
        assert f'<desc id="{label[2]}">' in pages[name].html


def test_the_same_contents_give_the_same_bytes(pages: dict[str, RenderedReport]) -> None:
    again = render(demo())
    assert again.html == pages["demo"].html
    assert again.files == pages["demo"].files


def test_figures_are_files_too(pages: dict[str, RenderedReport]) -> None:
    files = pages["demo"].files
    stems = {path.split(".")[0] for path in files if path.startswith("figures/")}
    assert stems >= {"figures/summary", "figures/shares", "figures/posterior", "figures/truth"}
    for stem in stems:
        spec = json.loads(files[f"{stem}.vl.json"])
        svg, png = files[f"{stem}.svg"].decode(), files[f"{stem}.png"]
        padding = spec["padding"]
        width = spec["width"] + padding["left"] + padding["right"]
        assert f'width="{width}"' in svg.split(">")[0]
        assert struct.unpack(">I", png[16:20])[0] == 2 * width


def test_the_numbers_are_those_of_the_contents(pages: dict[str, RenderedReport]) -> None:
    text = " ".join(read(pages["get-out-the-vote"]).text)
    text = text.replace("\u00a0", " ").replace("\u2212", "-")
    assert "+8.18" in text  # .081838
    assert "+7.57 to +8.80" in text  # .081838 -+ 1.96 * .003134
    assert "0.31" in text
    assert "38,201" in text
    assert "29.7 % over 191,243 units" in text
    assert json.loads(pages["get-out-the-vote"].files["report.json"])["study_id"]


def test_banners(pages: dict[str, RenderedReport]) -> None:
    assert "Simulated data." in pages["demo"].html
    assert "Exploratory." not in pages["demo"].html
    assert "1 of 2 checks failed:" in pages["pairs"].html
    assert "This study was not registered" in pages["get-out-the-vote"].html


def test_verdicts_have_words(pages: dict[str, RenderedReport]) -> None:
    texts = {name: " ".join(read(page).text) for name, page in pages.items()}
    assert "Passed" in texts["demo"]
    assert "Failed" in texts["pairs"]
    assert "Inconclusive" in texts["get-out-the-vote"]


NASTY = """<script>alert("1")</script> & 'quoted' \\ back {{ 7*7 }}"""


def test_names_are_escaped_everywhere() -> None:
    effects = effects_on(
        LOGIN.model_copy(update={"label": NASTY, "unit": NASTY}),
        (effect(NASTY, 0.05, 0.01, 10), effect("plain", 0.01, 0.01, 10)),
        method=NASTY,
    )
    arms = (ArmRow(NASTY, NASTY, 0.5, 10, 9), ArmRow("plain", NASTY, 0.5, 10, 9))
    wave = WaveContents(NASTY, NASTY, "closed", arms, allocation=NASTY, effects=(effects,))
    both = (wave, replace(wave, id="second"))
    page = render(
        ReportContents(
            NASTY, NASTY, NASTY, NASTY, both, abstract=NASTY, provenance=((NASTY, NASTY),)
        )
    )
    reader = read(page)
    assert reader.tags["script"] == 0
    assert '<script>alert("1")</script>' in " ".join(reader.text)
    assert "{{ 7*7 }}" in page.html


def test_a_planned_study_has_a_page() -> None:
    arms = (ArmRow("control", "no message", 0.5), ArmRow("a", "a message", 0.5))
    wave = WaveContents("w1", "Wave 1", "planned", arms)
    page = render(ReportContents("Title", "id", "today", "parents", (wave,)))
    assert "Not known yet" in page.html
    assert "<svg" not in page.html


def test_a_posterior_that_is_not_estimable_is_a_reason() -> None:
    contents = demo()
    waves = tuple(
        replace(wave, posterior=NotEstimable("no outcome was counted")) for wave in contents.waves
    )
    page = render(replace(contents, waves=waves, truth=None))
    assert "No posterior was computed: no outcome was counted." in page.html


def test_fourteen_waves_are_folded() -> None:
    arms = [f"method {i}, with a rather long name" for i in range(6)]
    rows = [Belief(arm, 10, 100, 1 / 6, 0.01) for arm in arms]
    waves = tuple(
        WaveContents(
            f"06-{n:02}",
            f"Wave {n}",
            "closed",
            tuple(ArmRow(arm, "a call", 1 / 6, 100, 100) for arm in arms),
            posterior=posterior(rows, (f"06-{n:02}",)),
        )
        for n in range(1, 15)
    )
    page = render(ReportContents("Title", "id", "today", "farmers", waves))
    # one for each wave, one for each posterior but the last, and the folded parts of the evidence
    assert read(page).tags["details"] == 14 + 13 + 4
    assert len(page.html.encode()) < 2_000_000


def test_ordered_pairs_are_a_matrix_with_the_means_of_its_rows_and_columns() -> None:
    names = ("teacher", "peers")
    made = {f"{a}+{b}": effect(f"{a}+{b}", 0.01 * (1 + i), 0.002, 500, n_arms=4)
            for i, (a, b) in enumerate((a, b) for a in names for b in names)}  # fmt: skip
    margins = [effect(f"{place} {name}", 0.02, 0.001, 1000)
               for place in ("first", "second") for name in names]  # fmt: skip
    item = effects_on(LOGIN, tuple(made.values()), contrasts=margins, mean=0.42, n_control=900)
    mean = effect("mean", 0.025, 0.001, 2000)
    object.__setattr__(item.effects, "contrasts", lambda _: MadeEffects([mean]))
    found = pairs_matrix(item, {"teacher": "Teacher's advice"})
    assert found is not None
    assert found.labels == ("Teacher's advice", "peers")
    values = [[cell.value for cell in row] for row in found.cells]
    assert values == [["+1.0", "+2.0"], ["+3.0", "+4.0"]]
    assert [cell.value for cell in (*found.row_means, *found.column_means)] == ["+2.0"] * 4
    assert found.mean.value == "+2.5"
    assert [cell.is_largest for row in found.cells for cell in row] == [False] * 3 + [True]
    assert "900 units in control (42.0" in found.unit
    single = effects_on(LOGIN, tuple(made.values())[:3], contrasts=margins)
    assert pairs_matrix(single, {}) is None


@pytest.mark.parametrize("name", SAMPLES)
def test_the_page_answers_before_it_explains(pages: dict[str, RenderedReport], name: str) -> None:
    html = pages[name].html
    first = html.index("<h1>")
    assert html.index('class="kicker"') < first < html.index('class="says"')
    assert html.index('class="says"') < html.index('id="effects"') < html.index('id="design"')
    assert "var(--ink)" in html.split("<svg", 1)[1], "drawings follow the page's colours"

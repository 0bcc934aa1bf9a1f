"""The registry page: its sections, its history, and that nothing in a spec can break it."""

import re
from datetime import date
from html.parser import HTMLParser

import pytest

from wavewise.design import canonical_dict, parse_spec
from wavewise.design.templates import template_names, template_text
from wavewise.design.versions import VersionRecord, history
from wavewise.report.documents.registry_page import history_text, registry_page, value_text

YEAR = template_text("peru-school-year")
SECTIONS = [
    "Trial status", "Abstract", "Trial dates", "Intervention", "Primary outcomes",
    "Experimental design", "Sample size by arm", "Minimum detectable effect",
    "Secondary outcomes", "History",
]  # fmt: skip


class _Page(HTMLParser):
    """Headings, rows of tables, and the text of a page; refuses tags that are not closed."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "h2" in self.open:
            self.headings.append(data)
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split()).replace("\xa0", " ")


def _versions() -> list[VersionRecord]:
    second = YEAR.replace("control_share = 0.20", "control_share = 0.10")
    third = second.replace("held_out_share = 0.5", "held_out_share = 0.4")
    texts = [(YEAR, "first registration", ()), (second, "more power <b>", ()),
             (third, "fewer held out", ("phase-1",))]  # fmt: skip
    return [
        VersionRecord(n, date(2023, 10, n), reason, canonical_dict(parse_spec(text)), seen)
        for n, (text, reason, seen) in enumerate(texts, start=1)
    ]


@pytest.mark.parametrize("name", template_names())
def test_the_sections_are_those_of_a_registry(name: str) -> None:
    page = _Page(registry_page(parse_spec(template_text(name))))
    assert page.headings == SECTIONS


def test_the_registered_numbers_of_the_school_year() -> None:
    """Arms, sizes and dates as the study's public registration gives them."""
    text = _Page(registry_page(parse_spec(YEAR))).text
    assert "Trial start date: 9 October 2023" in text
    assert "End of the last outcome window: 3 December 2023" in text
    assert "Mondays and Thursdays at 17:00 in each unit's own time zone for 3 weeks" in text
    assert "16 arms (teacher+teacher, teacher+peers, ...) each: about 5,000 parents" in text
    assert "control: about 20,000 parents" in text
    assert "Phase 2: best, forest, neighbours and random each: about 25,000 parents" in text


def test_both_conventions_of_power_are_given() -> None:
    page = _Page(registry_page(parse_spec(template_text("peru-summer"))))
    rows = {row[0]: row[2:] for row in page.rows if row[0].startswith("Phase 2")}
    assert rows["Phase 2"] == ["25,000", "0.0885", "–", "0.351"]
    assert rows["Phase 2, messaged part"] == ["12,500", "0.125", "0.496", "0.496"]
    assert "two conventions" in page.text


def test_every_text_of_every_message_is_there() -> None:
    spec = parse_spec(YEAR)
    text = _Page(registry_page(spec)).text
    for message in spec.messages:
        assert all(words in text for words in message.text.values())


def test_history_as_field_before_after() -> None:
    page = _Page(registry_page(parse_spec(YEAR), _versions()))
    assert ["waves['phase-1'].control_share", "0.2", "0.1", "2, 2 October 2023"] in page.rows
    mark = "3, 3 October 2023; addendum, after data of phase-1 were seen"
    assert ["waves['phase-2'].held_out_share", "0.5", "0.4", mark] in page.rows
    assert "Version 3: addendum, made after data were seen; see History." in page.text
    assert "First registered on 1 October 2023 · last changed on 3 October 2023" in page.text


def test_versions_may_come_in_any_order() -> None:
    spec = parse_spec(YEAR)
    assert registry_page(spec, _versions()[::-1]) == registry_page(spec, _versions())


def test_a_study_that_is_not_registered_says_so() -> None:
    text = _Page(registry_page(parse_spec(YEAR))).text
    assert "not registered" in text
    assert "The study is not registered." in text


def test_registered_after_data_were_seen() -> None:
    late = [VersionRecord(1, date(2024, 1, 1), "", canonical_dict(parse_spec(YEAR)), ("phase-1",))]
    text = _Page(registry_page(parse_spec(YEAR), late)).text
    assert "First registered after data of phase-1 were seen." in text
    assert "Nothing was changed since the first registration." in text


def test_the_addendum_stands_on_top() -> None:
    html = registry_page(parse_spec(template_text("peru-summer")))
    assert html.index("was not registered in advance") < html.index("<h1>")


def test_markup_in_a_spec_is_text() -> None:
    evil = '<script>alert(1)</script> & \\"quoted\\"'
    text = YEAR.replace('abstract = """', f'abstract = """{evil} ').replace(
        'title = "How', f'title = "{evil} How'
    )
    html = registry_page(parse_spec(text), _versions())
    assert "<script" not in html
    assert "<b>" not in html
    assert '<script>alert(1)</script> & "quoted"' in _Page(html).text


@pytest.mark.parametrize("name", template_names())
def test_the_page_needs_nothing_from_elsewhere(name: str) -> None:
    page = _Page(registry_page(parse_spec(template_text(name)), _versions()))
    links = [value for key, value in page.attributes if key in {"src", "href"}]
    assert links == ["data:,"]
    assert not re.search(r"url\(|@import|https?:", registry_page(parse_spec(template_text(name))))


def test_a_bare_spec_says_not_specified() -> None:
    head = YEAR[: YEAR.index("[planning]")]
    page = _Page(registry_page(parse_spec(head)))
    assert page.text.count("Not specified") >= 3
    assert "Hypotheses: not specified." in page.text


def test_same_inputs_same_bytes() -> None:
    spec = parse_spec(YEAR)
    assert registry_page(spec, _versions()) == registry_page(parse_spec(YEAR), _versions())


# History for the terminal


def test_history_text() -> None:
    assert history_text(history(_versions())).splitlines() == [
        "Version 2, 2023-10-02: more power <b>",
        "  waves['phase-1'].control_share",
        "    before  0.2",
        "    after   0.1",
        "",
        "Version 3, 2023-10-03: fewer held out",
        "  ADDENDUM, after data of phase-1 were seen",
        "  waves['phase-2'].held_out_share",
        "    before  0.5",
        "    after   0.4",
    ]


def test_no_history() -> None:
    assert history_text(()) == "Nothing was changed since the first registration."


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "(absent)"), (0.2, "0.2"), (False, "no"), ([], "(empty)"), ({}, "(empty)"),
     ([["a", "b"], ["c", "d"]], "a, b, c, d"), ({"a": {"b": 1, "c": 2}}, "a = (b = 1; c = 2)")],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert value_text(value) == text

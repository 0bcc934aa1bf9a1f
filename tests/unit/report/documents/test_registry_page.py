"""The registry page: its sections, its history, and that nothing in a spec can break it."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from wavewise.design import canonical_dict, parse_spec
from wavewise.design.templates import template_names, template_text
from wavewise.design.versions import VersionRecord
from wavewise.report.documents.registry_fields import registry_fields
from wavewise.report.documents.registry_page import (
    history_text,
    registry_facts,
    registry_markdown,
    registry_page,
    releases,
    value_text,
)

YEAR = template_text("peru-school-year")
FIELDS = [
    "Trial Title", "Trial Status", "Abstract", "Trial Start Date", "Trial End Date", "Keyword(s)",
    "JEL Code(s)", "Last Published", "Intervention (Public)", "Intervention Start Date",
    "Intervention End Date", "Primary Outcomes (End Points)", "Experimental Design (Public)",
    "Randomization Method", "Randomization Unit", "Was the treatment clustered?",
    "Planned Number of Clusters", "Planned Number of Observations",
    "Sample size (or number of clusters) by treatment arms",
    "Power calculation: Minimum Detectable Effect Size for Main Outcomes",
    "Secondary Outcomes (End Points)", "Country", "Primary Investigators", "Affiliation",
    "Sponsor Name", "IRB Name", "IRB Approval Date", "IRB Approval Number", "Documents",
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
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split()).replace("\xa0", " ")


def _day(n: int) -> datetime:
    return datetime(2023, 10, n, 13, 55, tzinfo=UTC)


def _versions() -> list[VersionRecord]:
    second = YEAR.replace("control_share = 0.20", "control_share = 0.10")
    third = second.replace("held_out_share = 0.5", "held_out_share = 0.4")
    texts = [(YEAR, "first registration", ()), (second, "more power <b>", ()),
             (third, "fewer held out", ("phase-1",))]  # fmt: skip
    return [
        VersionRecord(n, _day(n), reason, canonical_dict(parse_spec(text)), seen)
        for n, (text, reason, seen) in enumerate(texts, start=1)
    ]


@pytest.mark.parametrize("name", template_names())
def test_the_sections_are_the_fields_of_the_registry(name: str) -> None:
    spec = parse_spec(template_text(name))
    page = _Page(registry_page(spec))
    more = ["Addendum disclosure"] if spec.registration.addendum else []
    assert page.headings == [*FIELDS, *more, "History"]


def test_the_registered_numbers_of_the_school_year() -> None:
    """Arms, sizes and dates as the study's public registration gives them."""
    text = _Page(registry_page(parse_spec(YEAR))).text
    assert "Trial Start Date October 09, 2023" in text
    assert "Intervention End Date December 03, 2023" in text
    assert "Planned Number of Observations 100,000 parents" in text
    assert "Was the treatment clustered? No" in text
    assert "Mondays and Thursdays at 17:00 in each unit's own time zone for 3 weeks" in text
    assert "16 arms (teacher+teacher, teacher+peers, ...) each: about 5,000 parents" in text
    assert "control: about 20,000 parents" in text
    assert "Phase 2: best, forest, neighbours and random each: about 25,000 parents" in text


def test_power_as_the_registration_gives_it() -> None:
    """About 1.2 points, 3 % of the baseline, .025 standard deviations; 25 % in summer."""
    year = _field("peru-school-year", "Power calculation")
    assert "MDE against an arm of this size 1.20 percentage points (3.3 % of the baseline," in year
    assert "0.025 standard deviations" in year
    assert "Phase 2, messaged part" in year
    summer = _field("peru-summer", "Power calculation")
    # printed: about 0.5 points, 25 %, and 0.5 / 14 = 0.036; before rounding 0.496, 24.8 % and 0.035
    assert "0.496 percentage points (24.8 % of the baseline, 0.035 standard" in summer


def _field(template: str, begins: str) -> str:
    fields = registry_fields(parse_spec(template_text(template)))
    text = next(field.text for field in fields if field.name.startswith(begins))
    return text.replace("\xa0", " ")


def test_every_text_of_every_message_is_there() -> None:
    spec = parse_spec(YEAR)
    text = _Page(registry_page(spec)).text
    for message in spec.messages:
        assert all(words in text for words in message.text.values())


def test_history_as_field_before_after() -> None:
    page = _Page(registry_page(parse_spec(YEAR), _versions()))
    rows = [[cell.replace("\xa0", " ") for cell in row] for row in page.rows]
    assert ["Wave Phase 1: control share", "20 %", "10 %"] in rows
    assert ["Wave Phase 2: held out share", "50 %", "40 %"] in rows
    assert "Version 3.0: addendum, made after data were seen; see History." in page.text
    assert "First registered on 1 October 2023 · last changed on 3 October 2023" in page.text
    (last,) = (row for row in rows if row[0] == "Last Published" and "03, 2023" in row[2])
    assert last[1:] == ["October 02, 2023 01:55 PM UTC", "October 03, 2023 01:55 PM UTC"]
    assert "waves[" not in page.text


def test_a_default_is_shown_as_its_value() -> None:
    before = YEAR.replace("level = 0.95                               # of", "# of")
    after = YEAR.replace("level = 0.95", "level = 0.9").replace("power = 0.8", "power = 0.9")
    after = after.replace('country = "Peru"', "")
    first, second = (
        VersionRecord(n, _day(n), "", canonical_dict(parse_spec(text)))
        for n, text in enumerate((before, after), start=1)
    )
    told = history_text((first, second)).replace("\xa0", " ").splitlines()
    assert told[told.index("  Study: level") + 1 :][:2] == ["    before  95 %", "    after   90 %"]
    assert told[told.index("  Planning: power") + 1] == "    before  0.8"
    assert told[told.index("  Country") + 1 :][:2] == ["    before  Peru", "    after   (none)"]


@pytest.mark.parametrize(
    ("before", "after", "number"),
    [
        ('keywords = ["education", ', 'keywords = ["schools", ', "1.1"),
        ('status = "in_development"', 'status = "on_going"', "1.1"),
        ('status = "in_development"', 'status = "completed"', "2.0"),
        ("control_share = 0.20", "control_share = 0.10", "2.0"),
        ("Parents of primary-school", "Caregivers of primary-school", "2.0"),
        ('adjust = "holm"', 'adjust = "none"', "2.0"),
        ("wait_days = 7 ", "wait_days = 3 ", "2.0"),
        ("[registration]  ", '[registration]\njel = ["C93"]  #', "1.1"),
        ("[registration]  ", '[registration]\nsponsors = ["A ministry"]  #', "1.1"),
        ("[registration]  ", '[registration]\ninvestigators = ["A. Name"]  #', "2.0"),
    ],
)
def test_versions_are_numbered_as_the_registry_does(before: str, after: str, number: str) -> None:
    assert before in YEAR
    texts = (YEAR, YEAR.replace(before, after, 1))
    made = releases([
        VersionRecord(n, _day(n), "", canonical_dict(parse_spec(text)))
        for n, text in enumerate((*texts, texts[0]), start=1)
    ])  # fmt: skip
    assert [one.number for one in made][:2] == ["1.0", number]
    assert made[1].kind == ("Minor" if number == "1.1" else "Major")
    assert made[2].number in {"1.2", "3.0", "2.1"}


def test_who_pays_who_asks_and_who_approved() -> None:
    given = """
jel = ["C93", "I21"]
sponsors = ["A ministry", "A fund"]
documents = ["Pre-analysis plan of 9 October 2023"]
investigators = ["A. Name", { name = "B. Name", affiliation = "A university" }]
irb = [{ name = "Board of A", number = "23-104", date = 2023-09-01 }, { name = "Board of B" }]
"""
    spec = parse_spec(YEAR.replace("[registration]  ", f"[registration]{given}#"))
    text = {field.name: field.text for field in registry_fields(spec)}
    assert text["Primary Investigators"] == "A. Name; B. Name"
    assert text["Affiliation"] == "B. Name: A university"
    assert text["IRB Name"] == "Board of A; Board of B"
    assert text["IRB Approval Date"] == "Board of A: September 01, 2023; Board of B: not specified"
    assert text["JEL Code(s)"] == "C93; I21"
    assert text["Documents"] == "Pre-analysis plan of 9 October 2023"


def test_the_same_page_as_markdown_and_as_json() -> None:
    spec, versions = parse_spec(YEAR), _versions()
    facts = registry_facts(spec, versions)
    assert [field["field"] for field in facts["fields"]] == FIELDS
    assert facts["version"] == "3.0"
    assert facts["history"][1]["study_file"][0] == {
        "name": "Wave Phase 1: control share", "field": "waves['phase-1'].control_share",
        "before": 0.2, "after": 0.1,
    }  # fmt: skip
    assert "after data of phase-1 were seen" in facts["addendum_disclosure"]
    assert "Reason: fewer held out." in facts["addendum_disclosure"]
    text = registry_markdown(spec, versions)
    assert [f"## {name}".replace("(", "(") for name in FIELDS] == [
        line for line in text.splitlines() if line.startswith("## ")
    ][: len(FIELDS)]


def test_versions_may_come_in_any_order() -> None:
    spec = parse_spec(YEAR)
    assert registry_page(spec, _versions()[::-1]) == registry_page(spec, _versions())


def test_a_study_that_is_not_registered_says_so() -> None:
    text = _Page(registry_page(parse_spec(YEAR))).text
    assert "not registered" in text
    assert "The study is not registered." in text


def test_registered_after_data_were_seen() -> None:
    late = [VersionRecord(1, _day(1), "", canonical_dict(parse_spec(YEAR)), ("phase-1",))]
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
    assert page.text.count("Not specified") >= 10


def test_same_inputs_same_bytes() -> None:
    spec = parse_spec(YEAR)
    assert registry_page(spec, _versions()) == registry_page(parse_spec(YEAR), _versions())


# History for the terminal


def test_history_text() -> None:
    told = history_text(_versions()).replace("\xa0", " ").splitlines()
    assert told[0] == "Version 2.0 (Major), 2023-10-02: more power <b>"
    assert told[1].startswith("  Fields changed: Last Published, ")
    assert told[2:5] == ["  Wave Phase 1: control share", "    before  20 %", "    after   10 %"]
    assert told[6:8] == [
        "Version 3.0 (Major), 2023-10-03: fewer held out",
        "  ADDENDUM, after data of phase-1 were seen",
    ]


def test_no_history() -> None:
    assert history_text(()) == "Nothing was changed since the first registration."


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "(none)"), (0.2, "0.2"), (False, "no"), ([], "(none)"), ({}, "(none)"),
     ([["a", "b"], ["c", "d"]], "a, b, c, d"), ({"a": {"b": 1, "c": 2}}, "a = (b = 1; c = 2)")],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert value_text(value) == text

"""Messages written out: languages, fields, fallbacks, derived fields, lengths."""

import statistics
from collections import defaultdict

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavewise.design.messages import Derived, Flow, Message
from wavewise.fieldwork.people import derived_fields
from wavewise.fieldwork.rendering import render, sms_length, text_notes

PUPILS = Message.model_validate(
    {
        "id": "teacher",
        "channel": "push",
        "title": {"es": "Hola {child_name}"},
        "text": {
            "es": "{teacher_name} recomienda que {child_name} practique.",
            "en": "{teacher_name} recommends that {child_name} practise {{daily}}.",
        },
        "fallback": {"teacher_name": "Su docente"},
    }
)


def rows(names: list[str | None], teachers: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {"child_name": names, "teacher_name": teachers},
        schema_overrides={"teacher_name": pl.String},
    )


def test_language_fields_and_fallbacks() -> None:
    fields = rows(["Ana", "Luis", "Eva"], ["Sra. {X}", None, "  "])
    found = render(PUPILS, fields, pl.Series(["es-PE", "EN", "qu"]))
    assert found.rows["text"].to_list() == [
        "Sra. {X} recomienda que Ana practique.",
        "Su docente recommends that Luis practise {daily}.",
        "Su docente recomienda que Eva practique.",
    ]
    assert found.rows["title"].to_list() == ["Hola Ana", "Hola Luis", "Hola Eva"]
    assert found.rows["language"].to_list() == ["es", "en", "es"]
    assert not found.faults
    assert not found.is_bad.any()


def test_a_missing_field_is_counted_and_names_no_unit() -> None:
    found = render(PUPILS, rows(["Ana", None, ""], ["x"] * 3), pl.Series(["es"] * 3))
    (fault,) = found.faults
    assert fault.found == "2 of 3 units without {child_name}"
    assert found.is_bad.to_list() == [False, True, True]


def test_a_flow_takes_its_fields_along() -> None:
    flow = Flow.model_validate(
        {"start": "a", "steps": {"a": {"prompt": "{level}/{set}/{child_name}.wav"}}}
    )
    message = Message.model_validate(
        {"id": "T1A", "channel": "voice", "flow": "f", "fields": {"level": "{level}"}}
    )
    fields = pl.DataFrame({"child_name": ["Ana", "Luis"], "level": ["basic", None]})
    found = render(message, fields, pl.Series([None, None], dtype=pl.String), flow)
    assert found.rows["fields"][0] == {"child_name": "Ana", "level": "basic"}
    assert found.is_bad.to_list() == [False, True]
    assert [fault.found for fault in found.faults] == ["1 of 2 units without {level}"]
    fixed = message.model_copy(update={"fields": {"level": "intermediate"}})
    found = render(fixed, fields, pl.Series([None, None], dtype=pl.String), flow)
    assert found.rows["fields"].struct.field("level").to_list() == ["intermediate"] * 2


texts = st.text(alphabet="ab {}ñ€😀", max_size=12)


@given(st.lists(st.tuples(texts, texts | st.none(), st.sampled_from(["es", "en", "qu", None]))))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_as_python_writes_it_unit_by_unit(units: list[tuple[str, str | None, str | None]]) -> None:
    fields = pl.DataFrame(
        {"child_name": [u[0] for u in units], "teacher_name": [u[1] for u in units]},
        schema={"child_name": pl.String, "teacher_name": pl.String},
    )
    found = render(PUPILS, fields, pl.Series([u[2] for u in units], dtype=pl.String))
    for i, (child, teacher, language) in enumerate(units):
        text = PUPILS.text.get(language or "es", PUPILS.text["es"])
        if not child.strip():
            assert found.is_bad[i]
            continue
        values = {"child_name": child.strip(), "teacher_name": (teacher or "").strip()}
        wanted = text.format(**{**values, "teacher_name": values["teacher_name"] or "Su docente"})
        assert found.rows["text"][i] == wanted


LEVEL = Derived.model_validate(
    {
        "from": "score",
        "cut": {"basic": (0, 29), "intermediate": (30, 64), "advanced": (65, 85)},
        "missing": ("class median", "intermediate"),
    }
)


def level(score: float) -> str:
    return "basic" if score < 30 else "intermediate" if score < 65 else "advanced"


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 99) | st.none()),
        min_size=1,
    )
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_levels_as_the_kenya_study_made_them(units: list[tuple[str | None, int | None]]) -> None:
    scores = defaultdict(list)
    for group, score in units:
        if score is not None:
            scores[group].append(score)
    wanted = []
    for group, score in units:
        if score is not None:
            wanted.append(level(score))
        elif group is not None and scores[group]:
            wanted.append(level(statistics.median(scores[group])))
        else:
            wanted.append("intermediate")
    fields = pl.DataFrame(
        {
            "class": [u[0] for u in units],
            "score": [None if u[1] is None else str(u[1]) for u in units],
        },
        schema={"class": pl.String, "score": pl.String},
    )
    assert derived_fields({"level": LEVEL}, fields)["level"].to_list() == wanted


@pytest.mark.parametrize(
    ("text", "encoding", "n_letters", "n_segments"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("a" * 159 + "€", "GSM-7", 161, 2),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),  # the pair is not cut: 152 + 153 + 1
        ("é" * 160, "GSM-7", 160, 1),
        ("ó", "UCS-2", 1, 1),
        ("ó" * 70, "UCS-2", 70, 1),
        ("ó" * 71, "UCS-2", 71, 2),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 36, "UCS-2", 72, 2),
        ("😀" * 67, "UCS-2", 134, 3),  # 33 pairs fill a part of 67
    ],
)
def test_sms_length(text: str, encoding: str, n_letters: int, n_segments: int) -> None:
    found = sms_length(text)
    assert (found.encoding, found.n_letters, found.n_segments) == (encoding, n_letters, n_segments)


def test_text_messages_are_counted_by_segments() -> None:
    message = Message.model_validate({"id": "m", "channel": "sms", "text": {"es": "{note}"}})
    fields = pl.DataFrame({"note": ["a", "a" * 161, "ó" * 700]})
    found = render(message, fields, pl.Series([None] * 3, dtype=pl.String))
    assert found.n_segments == {1: 1, 2: 1, 11: 1}
    assert found.is_bad.to_list() == [False, False, True]
    assert "1 texts that are too long" in str(found.faults[0])


def test_a_field_that_makes_a_second_part_is_told_before_anything_is_sent() -> None:
    long = "a" * 150 + " {child_name}"
    message = Message.model_validate({"id": "m", "channel": "sms", "text": {"en": long}})
    fields = pl.DataFrame({"child_name": ["Ana", "Luis", "Maximiliano Alejandro"]})
    (note,) = text_notes(message, fields, pl.Series(["en"] * 3))
    assert note.startswith(
        "messages['m'].text.en: {child_name} makes 1 of 3 texts longer than 1 SMS"
    )
    assert "(up to 2)" in note
    assert "Maximiliano" not in note
    short = message.model_copy(update={"text": {"en": "Hello {child_name}"}})
    assert text_notes(short, fields, pl.Series(["en"] * 3)) == ()
    both = message.model_copy(update={"text": {"en": "Hello", "es": long}})
    told = text_notes(both, fields, pl.Series(["en", "en", "es"]))
    assert told == (), "the one unit of that language has one length"


def test_a_text_that_opens_with_a_bare_surname_is_told() -> None:
    languages = pl.Series(["en", "en", "es"])
    bare = text_notes(PUPILS, rows(["Ana"] * 3, ["Flores", "Quispe", "Rojas"]), languages)
    assert [note.split(":")[0] for note in bare] == [
        "messages['teacher'].text.es", "messages['teacher'].text.en"
    ]  # fmt: skip
    assert "a single word for 2 of 2 units, such as a bare surname" in bare[1]
    assert "Flores" not in " ".join(bare)
    titled = rows(["Ana"] * 3, ["Prof. Flores", "Sra. Quispe", "Don Rojas"])
    assert text_notes(PUPILS, titled, languages) == ()
    addressed = PUPILS.model_copy(update={"text": {"en": "Ms. {teacher_name} says: practise."}})
    assert text_notes(addressed, rows(["Ana"] * 3, ["Flores"] * 3), languages) == ()

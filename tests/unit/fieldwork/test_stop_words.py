"""Refusals in many spellings, and ordinary answers that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.fieldwork.stop_words import START_WORDS, STOP_WORDS, is_refusal, is_resumption

EVERY = sorted({word for words in STOP_WORDS.values() for word in words})


@pytest.mark.parametrize("word", EVERY)
def test_every_word_refuses_however_it_is_written(word: str) -> None:
    for text in (word, word.upper(), f"  {word}!! ", f'"{word}."', word.replace(" ", "  ")):
        assert is_refusal(text), text


@pytest.mark.parametrize(
    "text",
    ["Stop now please", "ACHA tafadhali", "arrêt", "NO MÁS", "Désabonner", "STOP \U0001f621"],
)
def test_accents_and_politeness_do_not_hide_a_refusal(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gracias",
        "Asante sana mwalimu",
        "Para mi hija, gracias",
        "end of term",
        "We will stop by the school on Monday",
        "unstoppable",
        "1",
    ],
)
def test_ordinary_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


def test_words_of_the_study_itself() -> None:
    assert not is_refusal("Tchau")
    assert is_refusal("tchau!", more=["Tchau"])


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert is_refusal(text) in {True, False}


@pytest.mark.parametrize("word", sorted({w for words in START_WORDS.values() for w in words}))
def test_words_that_start_again_stand_alone_and_refuse_nothing(word: str) -> None:
    assert is_resumption(f" {word.upper()}! ")
    assert not is_refusal(word)
    assert not is_resumption(f"{word} tomorrow")


def test_a_study_brings_words_of_its_own() -> None:
    assert not is_refusal("Tosha") and not is_resumption("Nirudishe")
    assert is_refusal("¡Tosha!", ["tosha"])
    assert is_resumption("nirudishe", ["Nirudishe"])

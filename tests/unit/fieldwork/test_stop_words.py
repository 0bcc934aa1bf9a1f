"""Opt-outs in many spellings, and ordinary answers that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavewise.workflow.contacts.opt_outs import (
    OPT_IN_KEYWORDS,
    OPT_OUT_KEYWORDS,
    is_opt_in,
    is_opt_out,
)

EVERY = sorted({word for words in OPT_OUT_KEYWORDS.values() for word in words})


@pytest.mark.parametrize("word", EVERY)
def test_every_word_refuses_however_it_is_written(word: str) -> None:
    for text in (word, word.upper(), f"  {word}!! ", f'"{word}."', word.replace(" ", "  ")):
        assert is_opt_out(text), text


@pytest.mark.parametrize(
    "text",
    ["Stop now please", "ACHA tafadhali", "arrêt", "NO MÁS", "Désabonner", "STOP \U0001f621"],
)
def test_accents_and_politeness_do_not_hide_an_opt_out(text: str) -> None:
    assert is_opt_out(text)


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
def test_ordinary_answers_are_no_opt_outs(text: str) -> None:
    assert not is_opt_out(text)


@pytest.mark.parametrize(
    "text",
    [
        *("Please stop", "pls stop it now", "S.T.O.P", "s t o p", "STOPPP", "sstop", "hey, basta"),
        *("I asked you to stop sending me these things last week already", "No more messages now"),
        *("Don't text this number ever again please", "mwalimu usinitumie ujumbe tena tafadhali"),
    ],
)
def test_in_doubt_it_is_an_opt_out(text: str) -> None:
    assert is_opt_out(text)


def test_words_of_the_study_itself() -> None:
    assert not is_opt_out("Tchau")
    assert is_opt_out("tchau!", more=["Tchau"])


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert is_opt_out(text) in {True, False}


@pytest.mark.parametrize("word", sorted({w for words in OPT_IN_KEYWORDS.values() for w in words}))
def test_words_that_start_again_stand_alone_and_refuse_nothing(word: str) -> None:
    assert is_opt_in(f" {word.upper()}! ")
    assert not is_opt_out(word)
    assert not is_opt_in(f"{word} tomorrow")


def test_a_study_brings_words_of_its_own() -> None:
    assert not is_opt_out("Tosha") and not is_opt_in("Nirudishe")
    assert is_opt_out("¡Tosha!", ["tosha"])
    assert is_opt_in("nirudishe", ["Nirudishe"])

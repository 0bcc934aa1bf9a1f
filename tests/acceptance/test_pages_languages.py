"""The pages in English, Spanish and Swahili: every text, times and numbers, and who chooses."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.frontend import CommandLineInterface
from babel.messages.pofile import read_po
from starlette.testclient import TestClient

from page_study import HOST, PageStudy
from wavewise.design.templates import template_names, template_summary
from wavewise.server.pages import languages
from wavewise.server.pages.render import Words

ROOT = Path(__file__).resolve().parents[2]
LOCALE = ROOT / "src" / "wavewise" / "server" / "pages" / "locale"
OTHERS = [code for code in languages.LANGUAGES if code != languages.ENGLISH]
HELD = re.compile(r"%\(\w+\)s|%%|</?\w+>|`[^`]+`")  # What a translation keeps as it is.


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[PageStudy]:
    found = PageStudy(tmp_path, 100)
    yield found
    found.studies.close()


@pytest.fixture
def client(pages: PageStudy) -> TestClient:
    return pages.client()


@pytest.fixture
def owner(pages: PageStudy, client: TestClient) -> TestClient:
    return pages.owner(client)


def catalog(code: str, folder: Path = LOCALE) -> Catalog:
    with (folder / code / "LC_MESSAGES" / "pages.po").open("rb") as source:
        return read_po(source, locale=code)


def within(language: str, run: Any) -> Any:
    """What something gives while a request of this language is answered."""

    def spoken() -> Any:
        languages.speak(language)
        return run()

    return copy_context().run(spoken)


# Catalogs.


def test_catalogs_are_what_the_documented_commands_make_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So no text is missing, none is of no use any more, and none is a guess."""
    recipe = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    copytree(LOCALE, tmp_path / "locale")
    commands = [line.split() for line in recipe.splitlines() if line.startswith("pybabel ")]
    assert [words[1] for words in commands] == ["extract", "update", "init"]
    ours = {
        "pages.pot": tmp_path / "pages.pot",
        "src/wavewise/server/pages/locale": tmp_path / "locale",
    }
    for words in commands[:2]:
        told = [str(ours.get(word, word)) for word in words[1:]]
        CommandLineInterface().run(["pybabel", "--quiet", *told])
    for code in OTHERS:
        made = {(one.context, one.id): one.string for one in catalog(code, tmp_path / "locale")}
        kept = {(one.context, one.id): one.string for one in catalog(code)}
        del made[None, ""], kept[None, ""]  # when the file was written
        assert made == kept


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_with_its_places(code: str) -> None:
    found = catalog(code)
    assert not found.obsolete
    assert len(found) > 500
    for message in found:
        if not message.id:
            continue
        assert not message.fuzzy, message.id
        one, *several = (message.id,) if isinstance(message.id, str) else message.id
        texts = (message.string,) if isinstance(message.string, str) else message.string
        assert len(texts) == (found.num_plurals if several else 1), message.id
        for text, of in zip(texts, [one] + [*several] * (len(texts) - 1), strict=True):
            assert text.strip(), of
            assert sorted(HELD.findall(text)) == sorted(HELD.findall(of)), text
            assert not set('<>"') & set(HELD.sub("", text)), text
            assert of[-1] not in ".?…" or text[-1] == of[-1], text
        is_sentence = len(one) > 25 and "%(" not in one
        assert not is_sentence or texts[0] != one, one


def test_what_a_template_is_about_is_a_text_of_the_pages() -> None:
    for code in OTHERS:
        for name in template_names():
            about = template_summary(name)
            assert within(code, lambda about=about: languages.word(about)) != about


# Who chooses.


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("", "en"),
        ("es-PE,es;q=0.9,en;q=0.5", "es"),
        ("sw", "sw"),
        ("SW-KE;q=0.8, en;q=0.7", "sw"),
        ("fr, es;q=0.3, sw;q=0.4", "sw"),
        ("qu, fr;q=0.9", "en"),
        ("en, es;q=0.9", "en"),
        ("es;q=0", "en"),
        ("es;q=x, *;q=0.1, ;;,", "en"),
        ("es;q=nan", "en"),
    ],
)
def test_a_browser_says_its_language(client: TestClient, asked: str, language: str) -> None:
    shown = client.get("/sign-in", headers={"accept-language": asked}).text
    heading = {
        "en": "Sign in to Wavewise",
        "es": "Iniciar sesión en Wavewise",
        "sw": "Ingia katika Wavewise",
    }
    assert f'<html lang="{language}">' in shown
    assert f"<h1>{heading[language]}</h1>" in shown


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("One study waits for you", "What shall the new study begin from?", "Save draft")),
        ("es", ("Un estudio espera por usted", "¿A partir de qué empieza", "Guardar borrador")),
        ("sw", ("Utafiti mmoja unakusubiri", "Utafiti mpya uanze na nini?", "Hifadhi rasimu")),
    ],
)
def test_who_chose_a_language_keeps_it(
    owner: TestClient, language: str, texts: tuple[str, ...]
) -> None:
    owner.headers["accept-language"] = "es" if language == "en" else "en"
    back = "/studies/peru/plan?n=5000"
    asked = {"language": language, "back": back}
    answer = owner.post("/language", data=asked, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, back)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age=31536000" in cookie
    for path, text in zip(("/", "/new", "/studies/peru/plan"), texts, strict=True):
        shown = owner.get(path).text
        assert text in shown
        assert f'<html lang="{language}">' in shown
        assert f'lang="{language}" aria-current="true"' in shown


def test_every_screen_offers_the_languages_and_leads_back(owner: TestClient) -> None:
    shown = owner.get("/studies/peru/plan?n=5000").text
    assert 'name="back" value="/studies/peru/plan?n=5000"' in shown
    for code, name in languages.LANGUAGES.items():
        assert re.search(rf'<button [^>]*value="{code}" lang="{code}"[^>]*>{name}</button>', shown)
    # After a step that failed: the screen that it came from; of no address at all: that address.
    refused = owner.post("/studies/peru/people/look")
    assert 'name="back" value="/studies/peru/people"' in refused.text
    assert 'name="back" value="/{nowhere}"' in owner.get("/{nowhere}").text
    assert owner.post("/{nowhere}").status_code in {404, 405}


@pytest.mark.parametrize(
    "back",
    ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "", "/\r\nX: y"],
)
def test_a_choice_leads_to_our_own_pages_alone(client: TestClient, back: str) -> None:
    asked = {"language": "es", "back": back}
    answer = client.post("/language", data=asked, follow_redirects=False)
    assert answer.headers["location"] == "/"
    assert "x" not in answer.headers


@pytest.mark.parametrize("code", ["fr", "", "../../x", "ES"])
def test_a_language_that_is_none_is_english(client: TestClient, code: str) -> None:
    assert client.post("/language", data={"language": code}).status_code == 422
    assert languages.COOKIE not in client.cookies
    client.cookies.set(languages.COOKIE, code)
    assert '<html lang="en">' in client.get("/sign-in").text


def test_a_form_from_elsewhere_chooses_nothing(client: TestClient) -> None:
    headers = {"origin": "https://elsewhere.example"}
    assert client.post("/language", data={"language": "es"}, headers=headers).status_code == 403
    assert languages.COOKIE not in client.cookies


def test_requests_at_once_do_not_mix(pages: PageStudy) -> None:
    app = pages.app()

    def ask(n: int) -> bool:
        code = [*languages.LANGUAGES][n % 3]
        with TestClient(app, base_url=HOST, headers={"accept-language": code}) as browser:
            return f'<html lang="{code}">' in browser.get("/sign-in").text

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(ask, range(12)))


def test_problems_are_told_in_the_readers_language(
    owner: TestClient, pages: PageStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.headers["accept-language"] = "es"
    assert "<h1>No existe esa página</h1>" in owner.get("/nowhere").text
    assert "<h1>No existe ese estudio</h1>" in owner.get("/studies/chile/plan").text
    foreign = owner.post("/sign-out", headers={"origin": "https://elsewhere.example"})
    assert "<h1>Este formulario no viene de aquí</h1>" in foreign.text
    breaking = TestClient(
        pages.app(), base_url=HOST, headers=owner.headers, raise_server_exceptions=False
    )
    monkeypatch.setattr(pages.keeper, "who", lambda _: 1 / 0)
    failed = breaking.get("/")
    assert failed.status_code == 500
    assert "<h1>Algo falló</h1>" in failed.text


# What is shown.


class Marked:
    """A catalog that puts every text between marks, so that any other text shows."""

    def gettext(self, text: str) -> str:
        return f"⟦{text}⟧"

    def ngettext(self, one: str, several: str, n: int) -> str:
        return f"⟦{one if n == 1 else several}⟧"

    def pgettext(self, _context: str, text: str) -> str:
        return f"⟦{text}⟧"


class Visible(HTMLParser):
    """Texts that somebody sees or hears, without commands and files."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.quiet = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.quiet += tag in {"code", "textarea", "pre"}
        self.texts += [v or "" for k, v in attrs if k in {"aria-label", "data-l", "title", "alt"}]

    def handle_endtag(self, tag: str) -> None:
        self.quiet -= tag in {"code", "textarea", "pre"}

    def handle_data(self, data: str) -> None:
        if not self.quiet:
            self.texts.append(data)


def unmarked(html: str, known: list[str]) -> set[str]:
    """Words that came from no catalog, and are not what is known to come from elsewhere."""
    reader = Visible()
    reader.feed(html)
    text = "\n".join(reader.texts)
    while (without := re.sub(r"⟦[^⟦⟧]*⟧", " ", text)) != text:
        text = without
    for one in sorted(known, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(one)}(?!\w)", " ", text)
    return set(re.findall(r"[^\W\d_]{2,}", text))


def strings(value: Any) -> Iterator[str]:
    """Every text and every name in a file of settings."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


def test_no_text_of_a_screen_goes_past_the_catalog(
    owner: TestClient, pages: PageStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(languages, "_catalog", lambda _: Marked())
    owner.headers["accept-language"] = "es"
    file = (pages.studies.folder / "peru" / "study.toml").read_text(encoding="utf-8")
    study = [one for one in strings(tomllib.loads(file)) if one]
    known = [*study, *template_names(), *languages.LANGUAGES.values(), "Wavewise", "study.toml"]
    known += ["peru", "zip", "SHA-256"]
    for path in ("/sign-in", "/", "/new", "/nowhere"):
        assert unmarked(owner.get(path).text, known) == set(), path
    for rest in ("plan", "plan/text", "people", "messages", "register", "events", "record", "proof",
                 "audit", "open/phase-1", "field/phase-1", "decide/phase-1"):  # fmt: skip
        shown = owner.get(f"/studies/peru/{rest}")
        assert shown.status_code == 200
        assert unmarked(shown.text, known) == set(), rest
    owner.post("/studies/peru/register")
    people = {"upload": ("people.csv", pages.people.read_bytes())}
    look = owner.post("/studies/peru/people/look", files=people).text
    columns = re.search(r"<tbody>.*?</tbody>", look, re.DOTALL)
    assert columns is not None
    known += ["people.csv"]
    assert unmarked(look.replace(columns[0], ""), known) == set()


def test_a_translation_does_not_let_html_in(owner: TestClient, pages: PageStudy) -> None:
    evil = '<script>alert("1")</script>'
    path = pages.studies.folder / "peru" / "study.toml"
    text = path.read_text(encoding="utf-8").replace('label = "Phase 1"', f"label = '{evil}'")
    path.write_text(text, encoding="utf-8")
    for code in OTHERS:
        owner.headers["accept-language"] = code
        for rest in ("plan", "open/phase-1", "decide/phase-1", "field/phase-1"):
            shown = owner.get(f"/studies/peru/{rest}").text
            assert evil not in shown
            assert "&lt;script&gt;" in shown


# Times and numbers.

MOMENT = datetime(2023, 11, 13, 14, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "when", "now"),
    [
        ("en", "Mon 13 Nov 2023, 09:20", "Mon 13 Nov 2023, 09:20 in Lima (14:20 UTC)"),
        ("es", "lun, 13 nov 2023, 09:20", "lun, 13 nov 2023, 09:20 en Lima (14:20 UTC)"),
        (
            "sw",
            "Jumatatu, 13 Nov 2023, 09:20",
            "Jumatatu, 13 Nov 2023, 09:20 huko Lima (14:20 UTC)",
        ),
    ],
)
def test_times_are_written_as_the_language_does(code: str, when: str, now: str) -> None:
    words = Words("America/Lima")
    assert within(code, lambda: words.when(MOMENT)) == when
    assert within(code, lambda: words.now(MOMENT)) == now
    midnight = datetime(2023, 11, 14, 4, 59, tzinfo=UTC)
    assert within(code, lambda: words.day(midnight)) == when.rpartition(",")[0]
    assert within(code, lambda: words.day(MOMENT.date())) == when.rpartition(",")[0]


@pytest.mark.parametrize("code", languages.LANGUAGES)
def test_numbers_are_written_as_the_language_does(code: str) -> None:
    share = "46.2\N{NO-BREAK SPACE}%" if code == "en" else "46.2%"
    assert within(code, lambda: languages.percent(0.462, 1)) == share
    assert within(code, lambda: languages.count(12_345)) == "12,345"
    assert within(code, lambda: languages.signed(1234.5, 1)) == "+1,234.5"
    assert within(code, lambda: languages.fixed(-0.5, 1)) == "\N{MINUS SIGN}0.5"
    assert within(code, lambda: languages.count(None)) == "\N{EN DASH}"


def test_a_language_with_other_signs_gets_them() -> None:
    assert within("pt", lambda: languages.fixed(-1234.5, 1)) == "\N{MINUS SIGN}1.234,5"
    assert within("fr", lambda: languages.percent(0.462, 1)).endswith("46,2\N{NO-BREAK SPACE}%")


def test_english_loads_no_library_of_languages() -> None:
    code = (
        "import sys\n"
        "from datetime import UTC, datetime\n"
        "from wavewise.server.pages import app, languages, render\n"
        "assert languages.gettext('Plan') == 'Plan' and languages.percent(0.5, 0)\n"
        "assert render.Words('America/Lima').now(datetime.now(UTC))\n"
        "assert 'babel' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

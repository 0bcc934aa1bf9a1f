"""Forms as a browser posts them, with files; and from which page they come."""

from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from pathlib import PurePath
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from wavewise.errors import InputError

__all__ = ["MOST_BYTES", "Form", "Upload", "is_own_form", "read_form"]

MOST_BYTES = 256 << 20  # a people file of some hundred thousand rows is a tenth of it
_WITHOUT_FILES = 4 << 20


@dataclass(frozen=True)
class Upload:
    """A file that was handed over."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Form:
    """What a form holds: texts and files by name."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)
    several: dict[str, list[str]] = field(default_factory=dict)  # Of boxes that share a name.

    def get(self, name: str, otherwise: str = "") -> str:
        """A text without blanks around it."""
        return self.texts.get(name, otherwise).strip()

    def has(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.get(name))

    def number(self, name: str) -> int | None:
        """A whole number, as people write it; None where the field is empty."""
        text = self.get(name).replace(",", "").replace(" ", "").replace("\N{NO-BREAK SPACE}", "")
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            raise InputError(f"found {self.get(name)[:40]!r}; needed a whole number")
        return int(text)


def is_own_form(request: Request) -> bool:
    """Whether a form comes from a page of this server: browsers say from where they post."""
    said = request.headers.get("origin")
    host = request.headers.get("host", "")
    if said is not None:
        found = urlsplit(said)
        return found.scheme in {"http", "https"} and found.netloc == host
    return request.headers.get("sec-fetch-site") == "same-origin"


async def read_form(request: Request) -> Form:
    """What was posted; too much of it is refused before it is kept."""
    kind = request.headers.get("content-type", "")
    is_multipart = kind.startswith("multipart/form-data")
    most = MOST_BYTES if is_multipart else _WITHOUT_FILES
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise InputError(f"found more than {most >> 20} MB; needed a smaller file")
    if is_multipart:
        return _multipart(kind, bytes(body))
    if not kind.startswith("application/x-www-form-urlencoded"):
        return Form()
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=2_000)
    except (UnicodeDecodeError, ValueError):
        raise InputError("found a form that cannot be read; needed one of these pages") from None
    return _form(pairs)


def _form(pairs: list[tuple[str, str]]) -> Form:
    several: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in value:
            raise InputError("found a character that no text holds; needed plain text")
        several.setdefault(name, []).append(value)
    return Form({name: values[-1] for name, values in several.items()}, {}, several)


def _multipart(kind: str, body: bytes) -> Form:
    head = f"Content-Type: {kind}\r\nMIME-Version: 1.0\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
    pairs, files = [], {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            continue
        given = part.get_filename()
        if given is None:
            pairs.append((name, content.decode("utf-8", "replace")))
        elif given:
            files[name] = Upload(PurePath(given.replace("\\", "/")).name, content)
    return Form(_form(pairs).texts, files, _form(pairs).several)

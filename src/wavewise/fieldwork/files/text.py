"""The bytes of a text file in chunks, as UTF-8, checked before anything parses them."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from wavewise.errors import Fault, InputError
from wavewise.fieldwork.files.faults import FaultLog

__all__ = ["NotUtf8", "TextFile", "chunks", "not_utf8"]

_MARKS = (  # the longest first
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MOST_UNPACKED_BYTES = 1 << 30  # of a .gz file
_SAMPLE_BYTES = 1 << 16
_ESCAPED = re.compile("[\udc80-\udcff]+")


class TextFile:
    """A text file: its encoding, its first lines, and its bytes as UTF-8."""

    def __init__(self, path: Path, encoding: str | None, max_line_bytes: int) -> None:
        self._path, self._most = path, max_line_bytes
        with opened(path) as stream:
            head = stream.read(CHUNK_BYTES)
        self.encoding = _encoding_of(head, encoding, path.name)
        in_unicode = self.encoding in {"utf-8", "utf-8-sig"} or encoding is not None
        self.note = "" if in_unicode else f"the file is {self.encoding}"
        first = next(self._utf8(), b"")
        self._only_returns = b"\r" in first[:-1] and b"\n" not in first

    def _utf8(self) -> Iterator[bytes]:
        with opened(self._path) as stream:
            yield from in_utf8(self._bounded(stream), self.encoding, self._path.name)

    def _bounded(self, stream: BinaryIO) -> Iterator[bytes]:
        n = 0
        for piece in chunks(stream):
            n += len(piece)
            if n > MOST_UNPACKED_BYTES and self._path.suffix.lower() == ".gz":
                raise InputError(
                    f"{self._path.name}: found more than 1 GiB of text when unpacked; needed less; "
                    "cut it into several files"
                )
            yield piece

    def pieces(self) -> Iterator[bytes]:
        """The bytes, checked. Old line ends (CR alone) become LF where there are no others."""
        for piece in sound(self._utf8(), self._path.name, self._most, self._only_returns):
            yield piece.replace(b"\r", b"\n") if self._only_returns else piece

    def first_lines(self) -> list[str]:
        """Lines at the beginning, the last one whole too."""
        sample = b""
        for piece in self._utf8():
            sample += piece
            if len(sample) > _SAMPLE_BYTES:
                break
        text = sample.decode(errors="replace")
        text = text.replace("\r", "\n") if self._only_returns else text
        lines = list(io.StringIO(text, newline=""))
        return lines[:-1] if len(sample) > _SAMPLE_BYTES else lines


def _encoding_of(head: bytes, told: str | None, name: str) -> str:
    """What the file's first bytes say, or what was told of it."""
    marked = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
    if told is None:
        return marked or _unmarked(head)
    if marked is not None:
        known = _codec(told, name).name.replace("_", "-")
        if known.removesuffix("-sig") not in {marked, marked.removesuffix("-sig")}:
            raise InputError(
                f"{name}: found a file that says it is {marked.removesuffix('-sig')}, by its "
                f"byte-order mark; needed that, not {told}; leave --encoding out"
            )
        return marked
    _codec(told, name)
    is_single = len("é".encode(told, "ignore")) == 1
    if is_single and not head.isascii() and _is_utf8(head):
        raise InputError(
            f"{name}: found a file in UTF-8, which {told} would garble; needed it read as UTF-8; "
            "leave --encoding out"
        )
    return told


def _is_utf8(head: bytes) -> bool:
    return _decodes(codecs.getincrementaldecoder("utf-8")(), head)


def _unmarked(head: bytes) -> str:
    """UTF-16 without a mark has a zero in every other byte of its names; else UTF-8."""
    start = head[:200]
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
        if len(start) > 3 and start.count(0) > len(start) / 4 and zeros.count(0) == start.count(0):
            return encoding
    return "utf-8"


# Which encoding a file may have whose bytes are not UTF-8: named with what it would read.

_LEGACY = ("cp1252", "mac_roman", "cp850", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp1253",
           "cp1254", "cp1256", "cp874", "shift_jis", "gb18030", "big5", "euc_kr")  # fmt: skip
_USUAL = set("áéíóúüñÁÉÍÓÚÜÑçÇãõâêôàèìòùäößÄÖåøæÅØÆëïî¿¡ªº°“”€ąćęłńśźżĄĆĘŁŃŚŹŻčďěňřšťůžČŘŠŽőűŐŰ")


def _candidates(words: list[bytes]) -> list[tuple[str, str]]:
    """Encodings and how each reads the first word, the likeliest first."""
    scored = []
    for place_, encoding in enumerate(_LEGACY):
        try:
            read = [word.decode(encoding) for word in words]
        except UnicodeDecodeError:
            continue
        scored.append((-sum(map(_plausible, read)), place_, encoding, read[0]))
    best = sorted(scored)
    seen: dict[str, str] = {}
    for _, _, encoding, word in best:
        if word not in seen.values():
            seen[encoding] = word
    return list(seen.items())[:3]


def _plausible(word: str) -> float:
    """How much a word looks like one: usual letters, no symbols inside, no change of script."""
    score = 0.0
    for before, letter in zip(" " + word, word, strict=False):
        if letter.isascii():
            continue
        score += 1.0 if letter in _USUAL else -0.2 if letter.isalpha() else -1.0
        score -= 1.0 * (before.islower() and letter.isupper())
        both = not before.isascii() and before.isalpha() and letter.isalpha()
        score -= 1.2 * (both and letter in _USUAL)
        score += 0.9 * (both and ord(letter) > 0x24F and ord(before) > 0x24F)
    return score


def not_utf8(path: Path, separator: str) -> InputError:
    """Where the bytes are that are not UTF-8; a slow second reading, only for the message."""
    log, words = FaultLog(), list[bytes]()
    found: list[tuple[int, str, bytes]] = []
    with opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        rows = csv.reader(text, delimiter=separator)
        header: list[str] = []
        try:
            for number, row in enumerate(rows, start=1):
                header = header or row
                found += _odd_cells(number, row, header)
        except csv.Error:
            log.add(f"row {rows.line_num}", "a cell of over 128 KiB", "UTF-8 text")
    words = [word for _, _, word in found[:500]]
    options = [f"{name} (reads {word!r})" for name, word in _candidates(words)]
    fix = (
        f"pass --encoding {' or '.join(options)}, or save the file as UTF-8"
        if options
        else ("save the file as UTF-8")
    )
    for number, column, word in found:
        byte = next(b for b in word if b > 0x7F)
        log.add_rows(np.array([number]), column, f"the byte 0x{byte:02X}", "UTF-8 text", fix=fix)
    return log.as_error(path.name)


def _odd_cells(number: int, row: list[str], header: list[str]) -> list[tuple[int, str, bytes]]:
    """The cells of a row that are not UTF-8, each with two letters around what is odd."""
    odd = []
    for i, cell in enumerate(row):
        match = _ESCAPED.search(cell)
        if match is None:
            continue
        has_name = number > 1 and i < len(header) and not _ESCAPED.search(header[i])
        around = re.search(f".?.?{re.escape(match[0])}.?.?", cell, re.S)
        word = (around[0] if around else match[0]).encode("utf-8", "surrogateescape")
        odd.append((number, header[i] if has_name else str(i + 1), word))
    return odd


# Chunks of bytes, and what may stand in them.

CHUNK_BYTES = 1 << 20


class NotUtf8(Exception):  # noqa: N818  (a finding that the reader turns into places)
    """Bytes that are not UTF-8 were met; the file is sound otherwise."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed where its name ends in ``.gz``."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast("BinaryIO", stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path.name}: found broken gzip compression; needed a whole .gz file; "
            "copy or download it again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path.name}: found no readable file ({error.strerror}); needed one; check the path"
        ) from error


def chunks(stream: BinaryIO, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The bytes of a stream, ``size`` at a time."""
    while chunk := stream.read(size):
        yield chunk


def in_utf8(pieces: Iterator[bytes], encoding: str, name: str) -> Iterator[bytes]:
    """Bytes of another encoding, as UTF-8; those of UTF-8 as they are."""
    codec = _codec(encoding, name)
    if codec.name == "utf-8":
        yield from pieces
        return
    decoder = codec.incrementaldecoder("strict")
    try:
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise InputError(
            f"{name}: found bytes that are not {codec.name} text; needed {codec.name}; "
            "pass --encoding with the file's own encoding, or save it as UTF-8"
        ) from error


def _codec(encoding: str, name: str) -> codecs.CodecInfo:
    try:
        codec = codecs.lookup(encoding)
        "".encode(encoding)  # refuses codecs that are not of text
    except LookupError:
        raise InputError(
            f"{name}: found the encoding {encoding!r}; needed a known one, "
            "such as utf-8, utf-8-sig, latin-1, cp1252 or utf-16"
        ) from None
    return codec


def sound(
    pieces: Iterator[bytes], name: str, max_line_bytes: int, only_returns: bool = False
) -> Iterator[bytes]:
    """The same pieces, each checked before it is handed on."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = _LineLengths(name, max_line_bytes)
    line_end = b"\r" if only_returns else b"\n"
    is_utf8 = True
    for piece in pieces:
        lines.feed(piece if not only_returns else piece.replace(line_end, b"\n"))
        if b"\0" in piece:
            raise _nul(name, lines.n_before(piece.index(b"\0"), piece))
        is_utf8 = is_utf8 and _decodes(decoder, piece)
        yield piece
    if not (is_utf8 and _decodes(decoder, b"", final=True)):
        raise NotUtf8


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


class _LineLengths:
    """Lines and their lengths as the bytes go by; never holds a line."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._n_lines = 0  # ended before the present piece
        self._n_open = 0  # bytes of the line that the present piece ends in
        self._n_next = 0

    def feed(self, piece: bytes) -> None:
        self._n_lines += self._n_next
        first, last = piece.find(b"\n"), piece.rfind(b"\n")
        self._check(self._n_open + (len(piece) if first < 0 else first), self._n_lines)
        if self._most < len(piece):
            self._check_inner(piece)
        self._n_next = piece.count(b"\n")
        self._n_open = self._n_open + len(piece) if last < 0 else len(piece) - last - 1

    def n_before(self, at: int, piece: bytes) -> int:
        """Number of line ends before a place in the present piece."""
        return self._n_lines + piece.count(b"\n", 0, at)

    def _check_inner(self, piece: bytes) -> None:
        for i, line in enumerate(piece.split(b"\n")[1:]):
            self._check(len(line), self._n_lines + 1 + i)

    def _check(self, length: int, n_lines: int) -> None:
        if length > self._most:
            fault = Fault(
                f"line {n_lines + 1}",
                f"more than {self._most:,} bytes without a line end",
                "lines no longer than that",
                "check that the file is a table in text form",
            )
            raise InputError(f"{self._name}: 1 error; nothing was imported", [fault])


def _nul(name: str, n_lines: int) -> InputError:
    fault = Fault(
        f"line {n_lines + 1}",
        "a NUL byte",
        "text in UTF-8",
        "if a spreadsheet saved it as Unicode text, pass --encoding utf-16 (or utf-16-le)",
    )
    return InputError(f"{name}: 1 error; nothing was imported", [fault])

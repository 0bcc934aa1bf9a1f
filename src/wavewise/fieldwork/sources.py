"""The bytes of a data file in chunks, checked before anything parses them."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from wavewise.errors import Fault, InputError

__all__ = ["CHUNK_BYTES", "NotUtf8", "chunks", "in_utf8", "opened", "sound"]

CHUNK_BYTES = 1 << 20

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NotUtf8(Exception):  # noqa: N818  (a finding that the reader turns into places)
    """Bytes that are not UTF-8 were met; the file is sound otherwise."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed where its name ends in ``.gz``.

    Raises
    ------
    InputError
        There is no such file, it cannot be read, or its compression is broken.
    """
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
    """Bytes of another encoding, as UTF-8; those of UTF-8 as they are.

    Raises
    ------
    InputError
        The encoding is unknown, or the bytes are not in it.
    """
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


def sound(pieces: Iterator[bytes], name: str, max_line_bytes: int) -> Iterator[bytes]:
    """The same pieces, each checked before it is handed on.

    Raises
    ------
    InputError
        A line is too long, or there is a byte-order mark or a NUL byte.
    NotUtf8
        At the end, where some bytes were not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = _LineLengths(name, max_line_bytes)
    is_first, is_utf8 = True, True
    for piece in pieces:
        if is_first:
            _refuse_mark(piece, name)
        lines.feed(piece)
        if b"\0" in piece:
            raise _nul(name, lines.n_before(piece.index(b"\0"), piece))
        is_utf8 = is_utf8 and _decodes(decoder, piece)
        is_first = False
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
            raise InputError(f"{self._name}: 1 fault; nothing was imported", [fault])


def _refuse_mark(piece: bytes, name: str) -> None:
    for mark, encoding in _MARKS:
        if piece.startswith(mark):
            fault = Fault(
                "row 1, first column",
                f"a byte-order mark (bytes {mark.hex(' ').upper()})",
                "plain UTF-8",
                f"save the file as UTF-8 without it, or pass --encoding {encoding}",
            )
            raise InputError(f"{name}: 1 fault; nothing was imported", [fault])


def _nul(name: str, n_lines: int) -> InputError:
    fault = Fault(
        f"line {n_lines + 1}",
        "a NUL byte",
        "text in UTF-8",
        "if a spreadsheet saved it as Unicode text, pass --encoding utf-16 (or utf-16-le)",
    )
    return InputError(f"{name}: 1 fault; nothing was imported", [fault])

"""Messy files whose content is known: separators, encodings, dates, numbers, headers, dirty cells.

Each file is made from a truth: ids, scores, moments and a name for each row. What a person could
not tell from the file alone is listed in ``settles``: the options that make it plain.
"""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

ZONE = "America/Lima"
COLUMNS = ("event_id", "unit_id", "at", "value", "item")
NAMES = (
    "José",
    "Peña; Ríos",
    'Colegio "Túpac"',
    "O'Neill, Ana",
    "Ñusta",
    "Zoë",
    "plain",
    "two  words",
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman", "utf-16-le")
SEPARATORS = (",", ";", "\t", "|")
DATES: dict[str, str] = {  # how a moment is written
    "iso": "%Y-%m-%dT%H:%M:%S",
    "iso blank": "%Y-%m-%d %H:%M",
    "dmy": "%d/%m/%Y %H:%M:%S",
    "mdy": "%m/%d/%Y %I:%M:%S %p",
    "dots": "%d.%m.%Y %H:%M",
    "surveycto": "%b %d, %Y %I:%M:%S %p",
    "serial": "",
    "epoch": "",
}
NUMBERS: dict[str, Callable[[float], str]] = {
    "plain": lambda x: f"{x:.2f}",
    "comma": lambda x: f"{x:.2f}".replace(".", ","),
    "thousands": lambda x: f"{x:,.2f}",
    "points": lambda x: f"{x:,.2f}".translate(str.maketrans(",.", ".,")),
    "blanks": lambda x: f"{x:,.2f}".replace(",", "\u00a0").replace(".", ","),
    "integer groups": lambda x: f"{round(x) + 1000:,}",
}


@dataclass
class MessyFile:
    """A file, what it holds, and what was done to it."""

    path: Path
    truth: list[tuple[str, datetime, float | None, str | None]]  # unit, at, value, item
    told: dict[str, Any] = field(default_factory=dict)  # the options that make it plain
    made_of: tuple[str, ...] = ()


def messy_file(folder: Path, seed: int) -> MessyFile:
    """The file of a seed."""
    rng = random.Random(seed)
    n = rng.randint(3, 40)
    kind = rng.choice(["csv"] * 6 + ["xlsx", "parquet", "ndjson", "dta", "sav"])
    style, number = rng.choice(list(DATES)), rng.choice(list(NUMBERS))
    start = datetime(2026, rng.randint(1, 12), rng.randint(1, 28), tzinfo=ZoneInfo(ZONE))
    few = rng.random() < 0.2  # no day above 12: an order in doubt
    rows = []
    for i in range(n):
        day = timedelta(days=rng.randrange(40), minutes=rng.randrange(1440))
        at = (start + day).replace(second=0)
        at = at.replace(day=rng.randint(1, 12)) if few else at
        value = None if rng.random() < 0.1 else round(rng.uniform(0.01, 9_999_999.0), 2)
        item = None if rng.random() < 0.1 else rng.choice(NAMES)
        rows.append((f"{i:04d}", at, value, item))
    if kind == "csv":
        return _csv(folder, seed, rng, rows, style, number)
    return _typed(folder, seed, rng, rows, kind)


def _written(at: datetime, style: str) -> str:
    if style == "serial":
        days = (at.replace(tzinfo=None) - datetime(1899, 12, 30)) / timedelta(days=1)
        return f"{days:.8f}"
    if style == "epoch":
        return str(int(at.timestamp()))
    return at.strftime(DATES[style])


def _csv(
    folder: Path, seed: int, rng: random.Random, rows: list[Any], style: str, number: str
) -> MessyFile:
    mark, encoding = rng.choice(SEPARATORS), rng.choice(ENCODINGS)
    told: dict[str, Any] = {"separator": mark, "encoding": encoding}
    told |= {"date_format": {"dmy": "DMY", "mdy": "MDY", "dots": "DMY"}.get(style)}
    told |= {"decimal": "," if number in {"comma", "points", "blanks"} else "."}
    header = list(COLUMNS)
    if rng.random() < 0.3:
        header = ["KEY", "ID del apoderado", "Fecha", "Minutos", "Nombre"]
        told["columns"] = dict(zip(COLUMNS, header, strict=True))
    header = [rng.choice(["", " ", "\u00a0"]) + name for name in header]
    if encoding == "mac_roman":
        header = [name.replace("\u00a0", " ") for name in header]
    lines, truth = [header], []
    for i, (unit, at, value, item) in enumerate(rows):
        shown = "" if value is None else NUMBERS[number](value)
        kept = value
        if value is not None and number == "integer groups":
            kept = float(round(value) + 1000)
        pad = rng.choice(["", "", " ", "  "])
        lines.append([f"e{i}", pad + unit + pad, _written(at, style), shown, item or ""])
        truth.append((unit, at, kept, item))
    n_empty = rng.choice([0, 0, 1, 3])
    lines = [line + [""] * n_empty for line in lines]
    lines += [[""] * len(lines[0])] * rng.choice([0, 0, 2])
    text = "\n".join(mark.join(_cell(cell, mark) for cell in line) for line in lines) + "\n"
    if rng.random() < 0.2:
        text = f"sep={mark}\n{text}"
    elif rng.random() < 0.1:
        text = f"Lista 2026{mark}\n\n{text}"
        told["header_row"] = 3
    if rng.random() < 0.3:
        text = text.replace("\n", "\r\n")
    elif rng.random() < 0.1:
        text = text.replace("\n", "\r")
    path = folder / f"messy-{seed}.{rng.choice(['csv', 'csv', 'txt', 'tsv'])}"
    path.write_bytes(text.encode(encoding, "replace"))
    made_of = ("csv", repr(mark), encoding, style, number)
    return MessyFile(path, truth, {k: v for k, v in told.items() if v is not None}, made_of)


def _cell(cell: str, mark: str) -> str:
    if any(c in cell for c in (mark, '"', "\n", ",")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _typed(folder: Path, seed: int, rng: random.Random, rows: list[Any], kind: str) -> MessyFile:
    path = folder / f"messy-{seed}.{kind}"
    local = [at.replace(tzinfo=None) for _, at, _, _ in rows]
    frame = pl.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(len(rows))],
            "unit_id": [unit for unit, *_ in rows],
            "at": pl.Series(local, dtype=pl.Datetime("us")),
            "value": [value for _, _, value, _ in rows],
            "item": [item for *_, item in rows],
        }
    )
    told: dict[str, Any] = {}
    if kind == "xlsx":
        import xlsxwriter

        name = rng.choice(["Hoja1", "Datos 2026"])
        book = xlsxwriter.Workbook(str(path))
        sheet = book.add_worksheet(name)
        dates = book.add_format({"num_format": "dd/mm/yyyy hh:mm"})
        if rng.random() < 0.3:
            book.add_worksheet("Notas").write(0, 0, "solo notas")
            told["sheet"] = name
        sheet.write_row(0, 0, COLUMNS)
        for i, row in enumerate(frame.iter_rows(), start=1):
            for j, cell in enumerate(row):
                if isinstance(cell, datetime):
                    sheet.write_datetime(i, j, cell, dates)
                elif cell is not None:
                    sheet.write(i, j, cell)
        book.close()
    elif kind == "parquet":
        frame.write_parquet(path)
    elif kind == "ndjson":
        frame.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S")).write_ndjson(path)
    else:
        import pyreadstat

        writer = pyreadstat.write_dta if kind == "dta" else pyreadstat.write_sav
        writer(frame.with_columns(pl.col("item").fill_null("")), str(path))
    return MessyFile(path, list(rows), told, (kind,))


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them changed, cut out, doubled or swapped."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(made) + 1)
        match rng.randrange(5):
            case 0:
                made[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del made[at : at + rng.randint(1, 50)]
            case 2:
                made[at:at] = made[at : at + rng.randint(1, 50)]
            case 3:
                made[at:at] = rng.choice(
                    [b"\0", b'"', b"\r", b"\n", b"\xff\xfe", b";", b",", b"\xe9"]
                )
            case _:
                del made[at:]
    return bytes(made)


def at_utc_us(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp()) * 1_000_000


def as_stream(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)

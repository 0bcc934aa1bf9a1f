"""``data get``: public files of the worked studies, checked by their SHA-256."""

import gzip
import hashlib
import os
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavewise.errors import InputError, UnavailableError
from wavewise.workflow.result import VerbResult

__all__ = ["DATA_SETS", "DataFile", "DataSet", "cache_folder", "find_data", "get_data"]

DOWNLOAD_SECONDS = 60


@dataclass(frozen=True)
class DataSet:
    """A public data file."""

    file: str  # Name in the cache.
    sha256: str  # Of the text, unpacked where the file is compressed.
    page: str  # Where people find it.
    # Where it can be downloaded by a program; None where there is no lasting address.
    address: str | None
    citation: str  # What to cite.


@dataclass(frozen=True, eq=False)
class DataFile(VerbResult):
    """A public data file in the cache."""

    path: str
    sha256: str
    citation: str
    page: str
    done: str  # What was done to have it there.

    def facts(self) -> dict[str, Any]:
        """Path and SHA-256."""
        return {"path": self.path, "sha256": self.sha256}

    def summary(self) -> str:
        """Where it is, and what to cite."""
        return f"{self.path}: {self.done}.\nCite: {self.citation}. Source: {self.page}."


DATA_SETS = {
    "gotv": DataSet(
        file="GerberGreenLarimer_APSR_2008_social_pressure.csv.gz",
        sha256="4f0c6e871707e54db0ea5763bf956433025db938f21d564e35c8fc2e4a843399",
        page="https://isps.yale.edu/research/data/d001",
        address=(
            "https://isps-yard-aws-s3-bucket.s3.us-east-2.amazonaws.com/published/"
            "15d48af8-e38e-4dd0-ace9-62f90826963a/GerberGreenLarimer_APSR_2008_social_pressure.csv"
        ),
        citation="Gerber, Green and Larimer (2008), American Political Science Review 102(1)",
    ),
    "pad": DataSet(
        file="pad_combined_outcomes.csv",
        sha256="a015b2be470399a062a840ec895f5c2f98dae03d3afe5e8a0cb61c98b23d5c1e",
        page="the replication files of Kasy and Sautmann (2021), Econometrica 89(1)",
        address=None,
        citation="Kasy and Sautmann (2021), Econometrica 89(1)",
    ),
}


def cache_folder() -> Path:
    """Where downloaded data lie: ``$XDG_CACHE_HOME/wavewise``, or ``~/.cache/wavewise``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wavewise"


def find_data(name: str) -> Path | None:
    """Path of a data set in the cache, or None."""
    path = cache_folder() / _data_set(name).file
    return path if path.exists() else None


def get_data(name: str, source: Path | None = None) -> DataFile:
    """Bring a data set into the cache."""
    data = _data_set(name)
    target = cache_folder() / data.file
    if source is None and target.exists():
        _require_published(data, _read(target), target)
        return _data_file(data, target, "already in the cache")
    content = _read(source) if source is not None else _download(data)
    _require_published(data, content, source or target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    partial.write_bytes(gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)
    shutil.move(partial, target)
    return _data_file(data, target, "checked and put into the cache")


def _data_set(name: str) -> DataSet:
    if name not in DATA_SETS:
        raise InputError(f"found data set '{name}'; needed one of {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; give another --from"
        ) from error
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _download(data: DataSet) -> bytes:
    by_hand = f"get it from {data.page} and give it with --from FILE"
    if data.address is None:
        raise UnavailableError(f"{data.file} has no lasting address to download from; {by_hand}")
    try:
        with urllib.request.urlopen(data.address, timeout=DOWNLOAD_SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer too
        raise UnavailableError(
            f"{data.file} could not be downloaded ({error}); {by_hand}"
        ) from error
    return content


def _require_published(data: DataSet, content: bytes, path: Path) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != data.sha256:
        raise InputError(
            f"{path}: found SHA-256 {found[:16]}...; needed {data.sha256[:16]}..., that of the "
            f"published file; get it again from {data.page}"
        )


def _data_file(data: DataSet, path: Path, done: str) -> DataFile:
    return DataFile(str(path), data.sha256, data.citation, data.page, done)

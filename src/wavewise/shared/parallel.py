"""Work in numbered chunks: here, on several processes, or on a Dask cluster; it can be resumed.

What a chunk gives depends on its number alone, so that neither the number of workers nor an
interruption changes a result.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wavewise.errors import InputError, UnavailableError
from wavewise.shared.files import write_whole
from wavewise.shared.version import __version__

__all__ = ["Chunk", "Progress", "Task", "run_chunks", "task_hash"]

Chunk = Mapping[str, npt.NDArray[Any]]
Task = Callable[[int], Chunk]
Progress = Callable[[int, int], None]

_ATTEMPTS = 5
_SECONDS_TO_ANSWER = 5


def run_chunks(
    task: Task,
    n_chunks: int,
    *,
    n_jobs: int = 1,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Chunk]:
    """What the task gives for chunks 0 to n_chunks - 1, in that order."""
    if n_chunks < 1 or n_jobs == 0:
        raise InputError(f"found {n_chunks} chunks, n_jobs {n_jobs}; needed at least one of each")
    kept = _Kept(None if folder is None else Path(folder))
    done = {number: chunk for number in range(n_chunks) if (chunk := kept.read(number)) is not None}
    report = progress or (lambda *_: None)
    report(len(done), n_chunks)
    with _backend(n_jobs, scheduler):
        for number, chunk in _finished(task, n_chunks, done, n_jobs, scheduler):
            done[number] = chunk
            kept.write(number, chunk)
            report(len(done), n_chunks)
    return [done[number] for number in range(n_chunks)]


def _finished(
    task: Task, n_chunks: int, done: dict[int, Chunk], n_jobs: int, scheduler: str | None
) -> Iterator[tuple[int, Chunk]]:
    """Chunks that are not done, as they finish; what dying workers held is done again."""
    if n_jobs == 1 and scheduler is None:
        yield from ((number, task(number)) for number in range(n_chunks) if number not in done)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    for _ in range(_ATTEMPTS):
        missing = [number for number in range(n_chunks) if number not in done]
        pool = Parallel(
            n_jobs=-1 if scheduler else n_jobs, return_as="generator_unordered", batch_size=1
        )
        try:
            yield from pool(delayed(_numbered)(task, number) for number in missing)
        except TerminatedWorkerError:
            continue
        return
    raise InputError(
        f"workers: found that they died in {_ATTEMPTS} attempts; needed workers that last, perhaps "
        "with more memory; finished chunks are kept where a folder was given"
    )


def _numbered(task: Task, number: int) -> tuple[int, Chunk]:
    return number, task(number)


@contextmanager
def _backend(n_jobs: int, scheduler: str | None) -> Iterator[None]:
    if scheduler is not None:
        with _dask(scheduler):
            yield
    elif n_jobs == 1:
        yield
    else:
        from joblib import parallel_config

        with parallel_config(backend="loky", inner_max_num_threads=1):
            yield


@contextmanager
def _dask(address: str) -> Iterator[None]:
    from joblib import parallel_config

    try:
        from distributed import Client
    except ImportError:
        raise UnavailableError(
            "a Dask scheduler needs the package distributed: pip install wavewise[cluster]"
        ) from None
    try:
        client: Any = _untyped(Client)(address, timeout=_SECONDS_TO_ANSWER, set_as_default=True)
    except (OSError, ValueError):
        raise UnavailableError(
            f"scheduler: found no answer at {address} in {_SECONDS_TO_ANSWER} seconds; needed a "
            "Dask scheduler: start one with `dask scheduler` and workers with `dask worker "
            "ADDRESS`, or leave it out to run on this machine"
        ) from None
    try:
        if not client.scheduler_info()["workers"]:
            raise UnavailableError(
                f"scheduler: found none of its workers at {address}; start some with `dask worker "
                f"{address}`, or leave it out to run on this machine"
            )
        with parallel_config(backend="dask"):
            yield
    finally:
        client.close()


def _untyped(value: Any) -> Any:
    return value


def task_hash(*parts: Any) -> str:
    """SHA-256 of all that decides what chunks hold: frozen dataclasses, arrays, plain values.

    Two tasks with one hash may share a folder of finished chunks.
    """
    digest = hashlib.sha256(__version__.encode())
    for part in parts:
        _absorb(digest, part)
    return digest.hexdigest()


def _absorb(digest: Any, value: Any) -> None:
    if is_dataclass(value) and not isinstance(value, type):
        digest.update(type(value).__qualname__.encode())
        for item in fields(value):
            digest.update(f"|{item.name}=".encode())
            _absorb(digest, getattr(value, item.name))
    elif isinstance(value, tuple | list):
        digest.update(f"[{len(value)}".encode())
        for one in value:
            _absorb(digest, one)
    elif isinstance(value, Mapping):
        _absorb(digest, sorted(value.items()))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        digest.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
    else:
        digest.update(f"<{value!r}>".encode())


class _Kept:
    """Finished chunks on disk, each written whole."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def read(self, number: int) -> Chunk | None:
        if self.folder is None or not self._path(number).exists():
            return None
        try:
            with np.load(self._path(number), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            return None  # damaged: done again

    def write(self, number: int, chunk: Chunk) -> None:
        if self.folder is None:
            return
        file = BytesIO()
        np.savez(file, **chunk)  # type: ignore[arg-type]
        write_whole(self._path(number), file.getvalue())

    def _path(self, number: int) -> Path:
        if self.folder is None:
            raise InputError("found no folder for finished chunks")
        return self.folder / f"chunk-{number:06d}.npz"

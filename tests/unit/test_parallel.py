"""Work in chunks: order, resumption, workers that die, a cluster."""

import io
import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import wavewise as ww
from wavewise.errors import InputError, UnavailableError
from wavewise.shared.parallel import run_chunks, task_hash


def _squares(number: int) -> dict[str, np.ndarray]:
    return {"x": np.array([number**2])}


class _DiesOnce:
    """Kills its own process at chunk 3, the first time."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        if number == 3 and not self.mark.exists():
            self.mark.write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
        return _squares(number)


def _values(chunks: list) -> list[int]:
    return [int(chunk["x"][0]) for chunk in chunks]


def test_chunks_come_in_order() -> None:
    seen: list[tuple[int, int]] = []
    found = run_chunks(_squares, 6, n_jobs=2, progress=lambda *x: seen.append(x))
    assert _values(found) == [0, 1, 4, 9, 16, 25]
    assert seen == [(i, 6) for i in range(7)]


def test_a_killed_worker_costs_time_only(tmp_path: Path) -> None:
    task = _DiesOnce(tmp_path / "mark")
    found = run_chunks(task, 8, n_jobs=2, folder=tmp_path / "chunks")
    assert (tmp_path / "mark").exists()
    assert _values(found) == [i**2 for i in range(8)]


def test_progress_shows_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import rich.console

    from wavewise.cli import plan

    text, console = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console", lambda **_: console(file=text, force_terminal=True)
    )
    with plan.of_simulations() as show:
        run_chunks(_squares, 3, progress=partial(show, "experiments"))
    assert "time left" in text.getvalue()
    assert "3/3" in text.getvalue()


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="at least one"):
        run_chunks(_squares, 0)
    with pytest.raises(UnavailableError, match="no answer at tcp"):
        run_chunks(_squares, 2, scheduler="tcp://127.0.0.1:9")


def test_a_cluster_with_a_killed_worker_gives_the_same_bytes() -> None:
    """Two Dask workers on loopback, one killed half-way."""
    distributed = pytest.importorskip("distributed")
    design = ww.evaluate.Design(arms=3, waves=(60, 60))
    truth, n = {"rate": [0.2, 0.25, 0.3]}, 4_000
    here = ww.evaluate.simulate(design, truth, n_simulations=n, rng=np.random.default_rng(1))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        killed = []

        def kill(done: int, total: int) -> None:
            if done >= 2 and not killed:
                worker = next(iter(cluster.workers.values()))
                killed.append(worker.process.process.pid)
                os.kill(killed[0], signal.SIGKILL)

        there = ww.evaluate.simulate(
            design, truth, n_simulations=n, rng=np.random.default_rng(1),
            scheduler=cluster.scheduler_address, progress=kill,
        )  # fmt: skip
    assert killed
    assert there.provenance == here.provenance


def test_tasks_that_differ_in_anything_have_folders_of_their_own() -> None:
    E = ww.evaluate
    prior = E.PriorTruth.from_rate(0.08, 0.2)
    near = E.PriorTruth.from_rate(0.08 + 1e-12, 0.2)
    design = E.Design(3, (60, 60), clusters=[20] * 6)
    other = design.with_(clusters=[20] * 5 + [21])
    hashes = {
        task_hash(*parts)
        for parts in ((design, prior), (design, near), (other, prior), (design, prior, 1),
                      (design.with_(rule="tempered", options={"temper": 0.5}), prior),
                      (E.Assumptions(0.3, [0.1, 0.2], 0.1),),
                      (E.Assumptions(0.3, [0.1, 0.2], 0.2),))
    }  # fmt: skip
    assert len(hashes) == 7
    again = E.Design(3, (60, 60), clusters=[20] * 6)
    assert task_hash(again, E.PriorTruth.from_rate(0.08, 0.2)) == task_hash(design, prior)

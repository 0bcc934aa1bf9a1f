"""Coverage of every interval of the package, in one table. Resumable; on Dask if given.

    python tests/coverage/interval_coverage.py FOLDER [--part NAME] [--passes N] [--jobs 2]
        [--scheduler ADDRESS]
    python tests/coverage/interval_coverage.py FOLDER --table docs/evidence/interval-coverage

What is finished in FOLDER is not done again, also after an interruption; a chunk's numbers depend
on its design and pass alone, not on who computes it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import coverage_costly
import coverage_intervals
import coverage_plan
from coverage_plan import Work, chunks, collected
from wavewise.shared.parallel import run_chunks, task_hash


def run(folder, order=None, **options):
    """What all chunks give, in their order; those in the folder are read."""
    order = tuple(chunks() if order is None else order)
    if options.get("scheduler"):
        import cloudpickle

        for module in (coverage_plan, coverage_intervals, coverage_costly):
            cloudpickle.register_pickle_by_value(module)  # workers need no copy of these files
    return run_chunks(Work(order), len(order), folder=folder, **options)


def shown(done, total):
    """Progress, every twentieth chunk."""
    if done % 20 == 0 or done == total:
        print(f"{done:,} of {total:,} chunks", flush=True)


def main():
    """Run what is missing; write the table if asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", choices=sorted({part.name for part in coverage_plan.PARTS}))
    parser.add_argument("--passes", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--scheduler")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    every, tables, seconds = chunks(options.passes), {}, {}
    for number, part in enumerate(coverage_plan.PARTS):
        if options.part not in {None, part.name}:
            continue
        # more passes come behind: those of fewer are read
        order = [at for at in every if at.part == number]
        plan = (part.name, part.keys, part.cells, part.each)
        folder = options.folder / task_hash(coverage_plan.SEED, plan)[:12]
        if options.table:
            order = order[: len(list(folder.glob("*.npz")))]  # what is there
        if not order:
            continue
        found = run(folder, order, n_jobs=options.jobs, scheduler=options.scheduler, progress=shown)
        own, used = collected(order, found)
        tables[part.name], seconds[part.name] = own[part.name], used[part.name]
    if options.table:
        from interval_coverage_table import write

        keys = {part.name: part.keys for part in coverage_plan.PARTS}
        write(tables, seconds, options.table, keys)


if __name__ == "__main__":
    main()

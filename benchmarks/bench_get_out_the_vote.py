"""The get-out-the-vote study from file to report: seconds and peak memory of each verb.

    python benchmarks/bench_get_out_the_vote.py DATA.csv.gz

Beside it, in the same run: pandas and statsmodels, which read the file and fit one regression.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
import sys
import pandas as pd
import statsmodels.formula.api as smf
data = pd.read_csv(sys.argv[1])
data["y"] = (data["voted"] == "Yes").astype(float)
data["arm"] = data["treatment"].str.strip()
fit = smf.ols("y ~ C(arm, Treatment('Control'))", data).fit(
    cov_type="cluster", cov_kwds={"groups": data["hh_id"]}
)
print(fit.params.iloc[-1])
"""


def main(data: str) -> None:
    program = str(Path(sys.executable).parent / "wavewise")
    with tempfile.TemporaryDirectory() as folder:
        study = str(Path(folder) / "study")
        verbs = [
            ["init", study, "--template", "get-out-the-vote"],
            ["register", study],
            ["wave", "import", study, "august-2006", data],
            ["wave", "close", study, "august-2006"],
            ["analyze", study, "august-2006"],
            ["report", study],
        ]
        spent = [_measure([program, *verb]) for verb in verbs]
    for verb, cost in zip(verbs, spent, strict=True):
        _print(" ".join(verb[:2] if verb[1].isalpha() else verb[:1]), *cost)
    total = sum(seconds for seconds, _ in spent)
    _print("all", total, max(mebibytes for _, mebibytes in spent))
    peer = _measure([sys.executable, "-c", PEER, data])
    _print("peer, 1 fit", *peer)
    print(f"all / peer {total / peer[0]:.2f}")
    _print("--help", *min(_measure([program, "--help"]) for _ in range(5)))


def _print(what: str, seconds: float, mebibytes: float) -> None:
    print(f"{what:16s} {seconds:6.2f} s {mebibytes:6.0f} MiB")


def _measure(words: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in MiB of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(words)} failed")
    return time.perf_counter() - start, used.ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1])

"""The shares that `decide` gave before each wave, in calls of 600, beside those that were issued.

The reference shares were computed exactly from the published rule. The programme drew its own from
simulated posteriors, so that the counts that it issued lie within a few calls of the exact ones.
"""

import json
import sys
from pathlib import Path

import polars as pl

CALLS = 600
REFERENCE = {
    "06-05": (91.4, 277.6, 91.4, 59.1, 21.4, 59.1),
    "06-07": (81.0, 232.0, 161.9, 47.6, 10.2, 67.4),
    "06-09": (148.7, 256.8, 78.4, 22.4, 14.3, 79.4),
    "06-11": (45.2, 250.7, 112.2, 8.1, 96.2, 87.7),
    "06-13": (35.7, 186.3, 122.6, 5.5, 172.5, 77.4),
    "06-15": (77.0, 212.0, 79.1, 5.5, 75.9, 150.5),
    "06-18": (29.9, 228.8, 84.5, 7.7, 104.5, 144.6),
    "06-20": (48.8, 194.1, 172.6, 11.3, 67.4, 105.8),
    "06-22": (49.7, 188.8, 156.6, 7.8, 94.9, 102.3),
    "06-24": (35.4, 244.9, 163.4, 19.4, 58.1, 78.8),
    "06-26": (35.4, 259.2, 188.5, 8.1, 39.6, 69.2),
    "06-28": (39.8, 276.9, 122.7, 16.8, 64.7, 79.2),
    "06-30": (47.6, 279.1, 136.6, 18.2, 62.2, 56.3),
}
TOLERANCE_CALLS = 0.1


def main(study: str) -> None:
    decided = sorted(Path(study).glob("decided-after-*.json"))
    payloads = [json.loads(path.read_text(encoding="utf-8")) for path in decided]
    shares = {item["for_wave"][-5:]: item["shares"] for item in payloads if "for_wave" in item}
    if set(shares) != set(REFERENCE):
        sys.exit(f"found shares for {sorted(shares)}; needed {sorted(REFERENCE)}")
    worst = 0.0
    for wave, reference in REFERENCE.items():
        found = [CALLS * share for share in shares[wave].values()]
        worst = max(worst, *(abs(a - b) for a, b in zip(found, reference, strict=True)))
        print(f"before {wave}:", *(f"{value:6.1f}" for value in found))
    print(f"Largest difference from the reference: {worst:.3f} calls in {CALLS}.")
    if worst > TOLERANCE_CALLS:
        sys.exit(f"more than {TOLERANCE_CALLS} calls apart")
    final = next(item for item in payloads if "arm" in item)
    print(pl.DataFrame([{key: final[key] for key in ("arm", "prob_optimal", "policy_regret")}]))


if __name__ == "__main__":
    main(sys.argv[1])

"""Writes the study file of the 14 waves, so that they need not be typed 14 times."""

import csv
import sys
from datetime import datetime
from pathlib import Path

HEAD = """# Which way of enrolling farmers gets calls completed? An adaptive roll-out in 14 waves of
# 600 calls (Kasy and Sautmann 2021), imported one by one; `decide` gives the next shares.

[study]
id = "precision-agriculture"
title = "Which way of enrolling farmers works best?"
seed = 2019
time_zone = "Asia/Kolkata"

[units]
id = "row"
name = "calls"
fields = ["date"]                          # which wave a call belonged to

{messages}
[[outcomes]]
id = "completed"
label = "completion rate"
primary = true
kind = "any"

[models.completed]
kind = "beta binomial"
outcome = "completed"
prior = [1.0, 1.0]

[decision]
model = "completed"
learned_on = [{waves}]
"""
MESSAGE = """[[messages]]
id = "method-{k}"
channel = "voice"
text.en = "Enrolment call, method {k}."
"""
WAVE = """
[[waves]]
id = "{id}"
units = {{ where = {{ date = "{date}" }} }}
starts = {starts}
window_days = {days}
arms = [{arms}]
shares = {shares}

[waves.imported]
arm = "treatment"
arm_names = {{ {names} }}
outcomes = {{ completed = "outcome" }}
"""
METHODS = range(1, 7)
ADAPTIVE = '{{ rule = "exploration", model = "completed", learned_on = [{earlier}] }}'


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def main(data_path: str, study_path: str) -> None:
    with Path(data_path).open(encoding="utf-8", newline="") as file:
        dates = {row["date"] for row in csv.DictReader(file)}
    days = sorted((datetime.strptime(date, "%m/%d/%Y").date(), date) for date in dates)
    ids = [f"wave-{day:%m-%d}" for day, _ in days]
    waves = [
        WAVE.format(
            id=name, date=date, starts=day, days=1,
            arms=", ".join(f'"method-{k}"' for k in METHODS),
            names=", ".join(f'"{k}" = "method-{k}"' for k in METHODS),
            shares=ADAPTIVE.format(earlier=_quoted(ids[:i])) if i else '"equal"',
        )
        for i, (name, (day, date)) in enumerate(zip(ids, days, strict=True))
    ]  # fmt: skip
    head = HEAD.format(
        messages="\n".join(MESSAGE.format(k=k) for k in METHODS),
        waves=_quoted(ids),
    )
    Path(study_path).parent.mkdir(parents=True, exist_ok=True)
    Path(study_path).write_text(head + "".join(waves), encoding="utf-8")
    print(*ids)


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""A whole study whose goal is an index, rehearsed from its people to its report."""

from pathlib import Path

import wavewise as ww
from study_folders import STUDY, people

MORE = """
[[outcomes]]
id = "first"
kind = "days to first"
event = "login"
higher_is_better = false

[[outcomes]]
id = "left"
kind = "any"
event = "opt-out"
higher_is_better = false

[[outcomes]]
id = "after"
kind = "count"
event = "login"
window = "after"
to_day = 28
unit_of_time = "week"

[[targets]]
id = "goal"
outcomes = ["login", "minutes"]
primary = true

[models.goal]
kind = "normal"
outcome = "goal"
"""
TEXT = (
    STUDY.replace("primary = true\n", "", 1)
    .replace('model = "login", learned_on', 'model = "goal", learned_on')
    .replace('model = "login"\nlearned_on', 'model = "goal"\nlearned_on')
    + MORE
)


def test_a_study_that_adapts_on_an_index_runs_to_its_report(
    tmp_path: Path, store_url: str | None
) -> None:
    (tmp_path / "study.toml").write_text(TEXT, encoding="utf-8")
    with ww.open_study(tmp_path, store=store_url) as study:
        study.register()
        study.people_import(people(200))
        told = study.rehearse().summary()
    assert "mean goal by arm" in told
    assert "Shares of wave two" in told
    assert "Chosen by lowest expected regret" in told
    assert "sends are late" not in told

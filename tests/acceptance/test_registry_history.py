"""The history page of the Peru study, beside the one that its public registry shows."""

import json
import re
from pathlib import Path

from study_folders import done

# "Fields Changed" between the registration of 17 October 2023 and the entry of 19 June 2026.
FIELDS_CHANGED = [
    "Trial Status", "Abstract", "Trial Start Date", "Last Published", "Intervention (Public)",
    "Intervention Start Date", "Intervention End Date", "Primary Outcomes (End Points)",
    "Experimental Design (Public)", "Sample size (or number of clusters) by treatment arms",
    "Power calculation: Minimum Detectable Effect Size for Main Outcomes",
    "Secondary Outcomes (End Points)",
]  # fmt: skip


def _first(text: str) -> str:
    """The study as it was first planned: a week later, two policies and no message, one outcome."""
    outcome = re.compile(r'(?ms)^\[\[outcomes\]\]\nid = "(minutes|exercises)".*?(?=^\[\[)')
    text = outcome.sub("", text).replace('label = "login rate"', 'label = "use of the platform"')
    text = text.replace("2023-10-09", "2023-10-16").replace("2023-11-13", "2023-11-10")
    text = re.sub(r"(?m)^  \{ id = \"(neighbours|random)\".*\n", "", text)
    text = text.replace(', ["neighbours", "best"], ["best", "random"]', "")
    text = text.replace("held_out_share = 0.5", "held_out_share = 0.4")
    text = text.replace("Two push messages a week, on", "Two push messages, once, on")
    text = text.replace("Parents of primary-school children", "Parents who use the app")
    return text.replace("[registration]  ", "[registration]\ntrial_end = 2024-02-29  #")


def test_the_history_page_shows_the_fields_of_the_registry_in_its_order(tmp_path: Path) -> None:
    study = tmp_path / "peru"
    done("init", study, "--template", "peru-school-year")
    path = study / "study.toml"
    final = path.read_text(encoding="utf-8")
    path.write_text(_first(final), encoding="utf-8")
    done("register", study)
    final = final.replace("[registration]  ", "[registration]\ntrial_end = 2024-02-29  #")
    final = final.replace('status = "in_development"', 'status = "completed"')
    path.write_text(final, encoding="utf-8")
    told = done("amend", study, "--reason", "as it was run")
    assert "Trial Status: in_development -> completed" in told.out
    assert "waves[" not in told.out
    facts = done("history", study, "--export", "--json").facts
    assert [one["registry_version"] for one in facts["versions"]] == ["1.0", "2.0"]
    assert facts["versions"][1]["kind"] == "Major"
    page = (study / "report" / "registry.html").read_text(encoding="utf-8")
    changed = page[page.index("fields changed</caption>") :]
    changed = changed[: changed.index("</table>")]
    rows = re.findall(r'(?s)<th scope="row">(.*?)</th>(.*?)</tr>', changed)
    assert [name for name, _ in rows] == FIELDS_CHANGED
    cells = {name: re.sub(r"<[^>]+>", "", text).split() for name, text in rows}
    assert cells["Trial Status"] == ["in_development", "completed"]
    assert " ".join(cells["Intervention End Date"]) == "November 30, 2023 December 03, 2023"
    assert " ".join(cells["Trial Start Date"]) == "October 16, 2023 October 09, 2023"
    kept = json.loads((study / "report" / "registry.json").read_text(encoding="utf-8"))
    found = [one["field"] for one in kept["history"][1]["fields_changed"]]
    assert found == FIELDS_CHANGED
    assert "## Randomization Unit" in (study / "report" / "registry.md").read_text("utf-8")

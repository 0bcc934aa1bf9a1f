"""Make the people and events files of the small templates: `python scripts/template_data.py`.

Events are simulated from the arms that the template's own seed draws, so that a study made by
`wavewise init` and run on these files shows the effects below. Telephone numbers are those that are
reserved for fiction (555-0100 to 555-0199), e-mail addresses are of example.org.
"""

import csv
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

import wavewise as ww

TEMPLATES = Path(ww.__file__).parent / "design" / "templates"
N = 900
AREAS = ("202", "212", "213", "305", "312", "404", "415", "617", "702")
NAMES = [
    "Amy",
    "Ben",
    "Carla",
    "Dan",
    "Eva",
    "Frank",
    "Grace",
    "Hugo",
    "Irene",
    "Jack",
    "Karen",
    "Luis",
    "Maria",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Sam",
    "Tina",
    "Victor",
    "Wendy",
    "Yusuf",
    "Zoe",
    "Ana",
    "Carlos",
    "Elena",
    "Jorge",
    "Lucia",
    "Pedro",
    "Sofia",
]
# Added to the rate without messages: by arm, and for the arm whose effect differs, by language.
VACCINATED = {"control": 0.0, "reminder": 0.05, "reserved": 0.16, "family": 0.07}
RETURNED = {"control": 0.0, "next_lesson": 0.12, "certificate": 0.05}


def patients(rng: np.random.Generator) -> list[dict[str, object]]:
    return [
        {
            "patient_id": f"P{i:04d}",
            "first_name": rng.choice(NAMES),
            "clinic": rng.choice(["North Clinic", "Lakeside Clinic", "South Clinic"]),
            "age": int(rng.integers(18, 86)),
            "vaccinated_last_year": rng.choice(["yes", "no"], p=[0.35, 0.65]),
            "language": rng.choice(["en", "es"], p=[0.7, 0.3]),
            "phone": f"+1{AREAS[i // 100]}555{100 + i % 100:04d}",
        }
        for i in range(N)
    ]


def learners(rng: np.random.Generator) -> list[dict[str, object]]:
    lessons = rng.integers(1, 11, size=N)
    return [
        {
            "learner_id": f"L{i:04d}",
            "first_name": rng.choice(NAMES),
            "email": f"learner{i:04d}@example.org",
            "progress": "first half" if lessons[i] <= 5 else "second half",
            "lessons_done": int(lessons[i]),
            "days_since_login": int(rng.integers(14, 120)),
            "next_lesson": f"Lesson {lessons[i] + 1}",
            "language": rng.choice(["en", "es"], p=[0.7, 0.3]),
        }
        for i in range(N)
    ]


def visits(rng, person, arm, starts, days):
    """At most one vaccination, after the first message."""
    rate = 0.15 + 0.15 * (person["vaccinated_last_year"] == "yes") + VACCINATED[arm]
    if rng.random() < rate:
        yield "vaccination", starts + timedelta(days=1 + rng.random() * (days - 2), hours=8)


def logins(rng, person, arm, starts, days):
    """Logins, each with a lesson two times in three."""
    rate = 0.20 - 0.10 * (person["days_since_login"] > 60) + RETURNED[arm]
    if rng.random() < rate:
        for _ in range(rng.integers(1, 4)):
            at = starts + timedelta(days=2 + rng.random() * (days - 3))
            yield "login", at
            if rng.random() < 2 / 3:
                yield "lesson_completed", at + timedelta(minutes=12)


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def make(template: str, people: list[dict[str, object]], events_of, channel: str, rng) -> None:
    folder = TEMPLATES / template
    folder.mkdir(exist_ok=True)
    write(folder / "people.csv", people)
    (folder / "channels.toml").write_text(
        "# Messages are written to this file. To send them: docs/fieldwork/sending.md\n"
        f'[{channel}]\nprovider = "file"\npath = "outbox/{channel}.ndjson"\n',
        encoding="utf-8",
    )
    with tempfile.TemporaryDirectory() as place:
        study_folder = Path(place) / template
        ww.init(study_folder, template)
        with ww.open_study(study_folder) as study:
            by_id = {str(person[study.spec.units.id]): person for person in people}
            study.register()
            study.people_import(folder / "people.csv")
            for wave in study.spec.waves:
                study.wave_open(wave.id)
                starts = datetime.combine(wave.starts, datetime.min.time(), UTC)
                rows = [
                    {"unit_id": unit, "kind": kind, "at": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
                    for unit, arm in study.assignments(wave.id).select("unit_id", "arm").iter_rows()
                    for kind, at in events_of(rng, by_id[unit], arm, starts, wave.window_days)
                ]
                rows.sort(key=lambda row: (row["at"], row["unit_id"]))
                numbered = [{"event_id": f"{wave.id}-{i}", **row} for i, row in enumerate(rows)]
                path = folder / f"events-{wave.id}.csv"
                write(path, numbered)
                study.observe(path)
                study.wave_close(wave.id)
                print(study.analyze(wave.id).summary().splitlines()[0])
                if wave.id != study.spec.waves[-1].id:
                    print(study.decide(wave.id).summary())


if __name__ == "__main__":
    rng = np.random.default_rng(20_260_901)
    make("sms-two-waves", patients(rng), visits, "sms", rng)
    make("email-one-wave", learners(rng), logins, "email", rng)

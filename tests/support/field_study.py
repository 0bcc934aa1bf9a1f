"""A small study whose people file brings phone numbers and e-mail addresses, with its key file."""

from pathlib import Path

import polars as pl

from study_folders import STUDY, done, people

FIELD_STUDY = STUDY.replace(
    'time_zone = "zone"', 'time_zone = "zone"\naddress = { sms = "phone", email = "mail" }'
).replace('channel = "push"', 'channel = "sms"')


def phone(i: int) -> str:
    return f"+5199900{i:04d}"


def field_people(n: int = 40) -> pl.DataFrame:
    return people(n).with_columns(
        phone=pl.Series([phone(i) for i in range(n)]),
        mail=pl.Series([f"Ana{i}@example.org" for i in range(n)]),
    )


def make_field_study(tmp_path: Path, n: int = 40) -> tuple[Path, Path]:
    """Folder of a registered study with its people, and its key file."""
    folder, key = tmp_path / "study", tmp_path / "study.key"
    folder.mkdir()
    (folder / "study.toml").write_text(FIELD_STUDY, encoding="utf-8")
    field_people(n).write_csv(tmp_path / "people.csv")
    done("contacts", "make-key", key)
    done("register", folder)
    done("people", "import", folder, tmp_path / "people.csv", "--key-file", key)
    return folder, key

"""A study file that is proposed from a people file is valid, and takes these people."""

import polars as pl
import pytest

import wavewise as ww
from wavewise.errors import InputError


def people(n=240):
    return pl.DataFrame(
        {
            "Código alumno": [f"{i:05d}" for i in range(n)],
            "Nombre": [f"N{i}" for i in range(n)],
            "Sexo": ["f", "m"] * (n // 2),
            "Colegio": [f"Colegio {i // 12}" for i in range(n)],
            "Edad": [6 + i % 5 for i in range(n)],
            "Promedio": [f"{10 + i % 9},5" for i in range(n)],
            "Celular": [f"+51 9{i:08d}" for i in range(n)],
            "Correo": [f"a{i}@example.org" for i in range(n)],
            "zona": ["America/Lima"] * n,
            "idioma": ["es", "qu"] * (n // 2),
            "Comentario": [f"texto libre {i}" for i in range(n)],
        }
    )


def test_columns_are_taken_for_what_they_are(tmp_path):
    file = tmp_path / "alumnos.csv"
    people().write_csv(file, separator=";")
    made = ww.init(tmp_path / "Mi estudio", people=file)
    assert "alumnos.csv" in made.summary()
    with ww.open_study(tmp_path / "Mi estudio") as study:
        units = study.spec.units
        assert study.spec.study.id == "mi-estudio"
        assert units.id == "Código alumno"
        assert units.address == {"sms": "Celular", "email": "Correo"}
        assert (units.time_zone, units.language, units.cluster) == ("zona", "idioma", "Colegio")
        assert units.strata == ("Sexo",)
        assert units.covariates == ("Sexo", "Edad", "Promedio")
        assert units.fields == ("Nombre",)
        assert study.check()
        study.register()
        study.people_import(file)
        assert study.spec.planning.n_units == len(people())


def test_one_of_the_two_and_nothing_over_a_study(tmp_path):
    with pytest.raises(InputError, match="needed either a template"):
        ww.init(tmp_path / "a")
    with pytest.raises(InputError, match="needed either a template"):
        ww.init(tmp_path / "a", "sms-two-waves", people=people())
    ww.init(tmp_path / "a", people=people())
    with pytest.raises(InputError, match="nothing was written"):
        ww.init(tmp_path / "a", people=people())


def test_people_without_an_id(tmp_path):
    twice = pl.concat([people(), people()])
    with pytest.raises(InputError, match="needed one as the id of the people"):
        ww.init(tmp_path / "a", people=twice)
    assert not (tmp_path / "a").exists()

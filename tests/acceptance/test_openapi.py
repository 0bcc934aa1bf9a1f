"""The description of the interface is true, and served only where it was asked for.

Schemathesis makes requests of what is described, and of what is not, and holds the answers against
the description. Whether a text is an id is more than a pattern can say, so that its checks of what
must be taken and what must not are left out: ``test_serve_intake`` has those.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from field_study import make_field_study
from fuzz_doors import SECRETS
from study_folders import done
from wavewise.fieldwork.contact_details import KeyRing
from wavewise.server.app import build_app
from wavewise.server.authentication import Settings
from wavewise.server.connections import Limits
from wavewise.workflow.study import open_study
from web_server import running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder, key_file = make_field_study(tmp_path_factory.mktemp("openapi"), n=8)
    key = done("keys", "make", folder, "--name", "app", "--json").facts["key"]
    ring = KeyRing.read(key_file.read_text(), "key")
    with open_study(folder) as study:
        limits = Limits(n_wrong=10**9)
        with_it = Settings(study, ring, SECRETS.get, limits=limits, openapi=True)
        with running(build_app(with_it)) as url:
            yield url, key


def test_it_is_served_only_where_it_was_asked_for(tmp_path: Path) -> None:
    folder, _ = make_field_study(tmp_path, n=4)
    with open_study(folder) as study, running(build_app(Settings(study))) as url:
        assert httpx2.get(f"{url}/openapi.json").status_code == 404


def test_every_door_is_described_with_its_errors(served: tuple[str, str]) -> None:
    found = httpx2.get(f"{served[0]}/openapi.json").json()
    doors = {(path, m): door for path, ms in found["paths"].items() for m, door in ms.items()}
    assert len(doors) >= 17
    for (path, method), door in doors.items():
        assert {"200", "204"} & door["responses"].keys(), path
        assert "500" in door["responses"] or path == "/v1/metrics", path
        assert ("requestBody" in door) == (method == "post" and not path.startswith("/u/")), path
    events = doors["/v1/events", "post"]
    assert {"200", "207", "400", "401", "408", "413", "422", "429", "503"} <= events[
        "responses"
    ].keys()


def test_answers_are_as_described(served: tuple[str, str]) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis import checks

    url, key = served
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    wanted = (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
    )
    held = checks.CHECKS.get_by_names(list(wanted))
    for operation in schema.get_all_operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @given(case=operation.ok().as_strategy(generation_mode=mode))
            @settings(
                max_examples=12,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def holds(case) -> None:
                token = {"token": SECRETS["africas_talking_callback_token"]}
                params = token if "africas-talking" in case.path else {}
                case.call_and_validate(checks=held, headers={"X-API-Key": key}, params=params)

            if mode is schemathesis.GenerationMode.POSITIVE:
                holds()
            else:  # of an address without a body nothing can be wrong
                with suppress(Unsatisfiable):
                    holds()

"""The description of the interface is what the listener does: whatever Schemathesis makes of it is answered as described, and never by a failure."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks
from whole_guards import FAST, home, image, served

from vauban.guard.client import ATTEMPTS, Client, Device
from vauban.guard.refusal import Code
from vauban.guard.server.app import create_app
from vauban.guard.server.body import TYPES
from vauban.guard.server.description import text

load_all_checks()
PUBLISHED = Path(__file__).parents[2] / "docs" / "schema" / "guard.openapi.json"
TEXT = (
    FAST.replace("0.05s", "0.01s")
    + '[session]\ndevice = "named"\nattempts = 100\n[limits]\n'
    + "".join(f"{scope} = {{ count = 100000, window = 60 }}\n" for scope in ("device", "account", "network"))
    + "[lockout]\nfails = 100000\n"
)
CHECKS: list[Any] = [
    schemathesis.checks.CHECKS.get_one("not_a_server_error"),
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""Not `unsupported_method`: a method that nobody offers finds nothing here (404), so that nobody learns what is there."""


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(home(tmp_path_factory.mktemp("schema"), TEXT)) as (_, client):
        yield client


def test_the_published_description_is_fresh() -> None:
    """`python -m vauban.guard.server.description > docs/schema/guard.openapi.json` makes it so."""
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json.loads(text())


def test_the_running_guard_is_described_as_it_is_published_and_serves_it_to_nobody(tmp_path: Path) -> None:
    with served(home(tmp_path)) as (guard, client):
        assert create_app(guard).openapi() == json.loads(PUBLISHED.read_text(encoding="utf-8"))
        assert client.http.get(client.url + "/openapi.json").status_code == 404


def operations() -> dict[str, dict[str, Any]]:
    paths = json.loads(text())["paths"]
    return {told["operationId"]: told for item in paths.values() for told in item.values()}


def test_every_operation_is_described_with_all_it_answers() -> None:
    told = operations()
    assert set(told) == {"openSession", "fetchResult", "closeSession", "handInAttempt"}
    for name, operation in told.items():
        assert operation["summary"] and operation["description"], name
        assert operation["security"] == [{"clientToken" if name == "handInAttempt" else "apiKey": []}]
        assert all(answer["description"] for answer in operation["responses"].values())
    assert {int(status) for t in told.values() for status in t["responses"]} >= {code.status for code in Code}
    assert set(told["handInAttempt"]["requestBody"]["content"]) == set(TYPES)


def test_every_example_is_as_it_is_described() -> None:
    found = json.loads(text())
    schemas = found["components"]["schemas"]
    count = 0
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", ()):
            Draft202012Validator(schema).validate(example)
            count += 1
        assert schema["description"], name
        if name in ("SessionRequest", "SessionOpened", "SessionResult", "Problem"):
            assert all("description" in told for told in schema["properties"].values()), name
    for operation in operations().values():
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                assert content["schema"]["$ref"].rpartition("/")[2] in schemas
                if "example" in content:
                    Draft202012Validator(schemas["Problem"]).validate(content["example"])
                    count += 1
    assert count > 20


def api(client: Client) -> Any:
    """The description with the address of a running guard; credentials are given by the tests."""
    config = SchemathesisConfig()
    config.projects.override.generation.update(with_security_parameters=False)
    found = schemathesis.openapi.from_dict(json.loads(text()), config=config)
    found.config.update(base_url=client.url)
    return found


def token(client: Client) -> str:
    return client.open(Device(), signed=False).token


@dataclass
class Thrower:
    """Sends what Schemathesis makes, with and without credentials, and holds the answers against the description."""

    client: Client
    found: Counter[int] = field(default_factory=Counter)
    held: str = ""

    def throw(self, case: Any, who: str) -> None:
        device = case.path == ATTEMPTS
        self.held = self.held or token(self.client)
        case.headers = {name: value for name, value in dict(case.headers or {}).items() if name.lower() != "authorization"}
        key = {"good": self.held if device else self.client.key, "bad": "x"}.get(who)
        if device and who == "good":
            case.headers["X-Vauban-Timestamp"] = str(int(time.time()))
        answer = case.call(headers={"Authorization": f"Bearer {key}"} if key else {})
        case.validate_response(answer, checks=CHECKS)
        assert "server" not in answer.headers
        assert who == "good" or answer.status_code >= 400, "nobody without a key gets anything"
        self.found[answer.status_code] += 1
        if answer.status_code == 429:
            self.held = token(self.client)


def hurl(client: Client, examples: int) -> Counter[int]:
    """Send what Schemathesis makes of each operation; how often each status came."""
    thrower = Thrower(client)
    for result in api(client).get_all_operations():
        operation = result.ok()
        modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate],
            derandomize=True,
        )
        @given(case=cases, who=st.sampled_from(["good", "good", "bad", "none"]))
        def one(case: Any, who: str) -> None:
            thrower.throw(case, who)

        one()
    return thrower.found


def test_whatever_is_made_of_the_description_is_answered_as_described(listener: Client) -> None:
    found = hurl(listener, 25)
    assert found.keys() >= {201, 400, 401, 404}, found
    assert max(found) < 500


@pytest.mark.slow
def test_a_thousand_requests_made_of_the_description_are_answered_as_described(listener: Client) -> None:
    found = hurl(listener, 600)
    assert found.keys() >= {201, 400, 401, 404, 409, 422}, found
    assert max(found) < 500


def stateful(client: Client, examples: int, steps: int) -> Counter[int]:
    machine, found = api(client).as_state_machine(), Counter[int]()

    class Sessions(machine):  # type: ignore[misc, valid-type]
        """Sessions are opened, asked about and closed in any order."""

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"Authorization": f"Bearer {token(client) if case.path == ATTEMPTS else client.key}"}}

        def validate_response(self, response: Any, case: Any, additional_checks: Any = (), **_: Any) -> None:
            found[response.status_code] += 1
            case.validate_response(response, checks=[*CHECKS, checks.ensure_resource_availability])

    Sessions.run(
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
    )
    return found


def test_sessions_in_any_order_are_answered_as_described(listener: Client) -> None:
    assert stateful(listener, 4, 6)[201]


@pytest.mark.slow
def test_many_sessions_in_any_order_are_answered_as_described(listener: Client) -> None:
    found = stateful(listener, 60, 20)
    assert found.keys() >= {200, 201, 204}, found


def test_an_answer_that_is_not_described_is_found(listener: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from vauban.guard.server import problems

    monkeypatch.setitem(problems.BODIES, Code.BAD_REQUEST, b'{"type": "score", "title": "0.93", "status": 400}')
    with pytest.raises(BaseException, match=r"is not one of|violates schema"):
        hurl(listener, 25)


def test_an_image_that_is_fine_is_taken_as_described(listener: Client) -> None:
    device = Device()
    answer = listener.attempt(listener.open(device, signed=False), device, image(), signed=False)
    schema = api(listener)
    schema[ATTEMPTS]["POST"].validate_response(answer)
    assert answer.status_code == 202

"""Settings, secrets, the authorisation, and the end of a target: what needs no endpoint."""

import gc
import json
import subprocess
import sys

import pytest

from vauban.errors import BadPlan, BadTarget, NotAuthorised
from vauban.target.http import Answer, Authorisation, Budget, Cost, Http, Rate, Request, Retry, Timeout
from vauban.target.http.bill import estimated
from vauban.target.http.exchange import filled
from vauban.target.http.secrets import Secrets
from vauban.target.http.thread import Loop
from vauban.target.http.triage import wait_of

ALLOWED = Authorisation("We own this service; ticket 12.", ("api.example.com", "127.0.0.1:8000"))
ANSWER = Answer(scores="z")


@pytest.mark.parametrize(
    "url", ["https://other.example.com/x", "https://example.com/x", "http://127.0.0.1:8001/x", "https://api.example.com.evil.org/"]
)
def test_a_host_that_is_not_named_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(NotAuthorised, match="nothing was sent"):
        Http(url, ALLOWED, answer=ANSWER)


@pytest.mark.parametrize("url", ["https://api.example.com/x", "https://API.example.com:8443/x", "http://127.0.0.1:8000/x"])
def test_hosts_are_compared_without_regard_to_case_and_by_port_where_one_is_named(url: str) -> None:
    assert Http(url, ALLOWED, answer=ANSWER).name.endswith("/x")


@pytest.mark.parametrize(
    "url", ["ftp://api.example.com/x", "api.example.com", "https://me:word@api.example.com/", "https://api.example.com/?key=1"]
)
def test_an_address_has_no_secrets_and_a_scheme(url: str) -> None:
    with pytest.raises(BadTarget) as error:
        Http(url, ALLOWED, answer=ANSWER)
    assert "word" not in str(error.value).replace("password", "")


def test_a_statement_and_hosts_are_needed() -> None:
    with pytest.raises(NotAuthorised, match="who allowed"):
        Authorisation(" ", ("a",))
    with pytest.raises(NotAuthorised, match="allowed_hosts"):
        Authorisation("We own this service.", ())


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "api_key", "Cookie", "X-Auth-Token", "client_secret", "key"])
def test_a_secret_that_is_written_down_is_refused(name: str) -> None:
    with pytest.raises(BadPlan, match="no place in a file") as error:
        Http("https://api.example.com/x", ALLOWED, answer=ANSWER, request=Request(headers={name: "Bearer abcdef"}))
    assert "abcdef" not in str(error.value)


def test_what_is_no_secret_by_its_name_may_be_written_down() -> None:
    Http("https://api.example.com/x", ALLOWED, answer=ANSWER, request=Request(headers={"Accept": "a", "X-Keyboard": "b"}, query={"v": "2"}))


def test_secrets_come_from_the_environment_and_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Request(headers={"Authorization": "Bearer ${TOKEN_OF_TEST}"})
    with pytest.raises(BadPlan, match="TOKEN_OF_TEST is not set"):
        Http("https://api.example.com/x", ALLOWED, answer=ANSWER, request=asked)
    monkeypatch.setenv("TOKEN_OF_TEST", "very/secret+word")
    target = Http("https://api.example.com/x", ALLOWED, answer=ANSWER, request=asked)
    assert "very" not in repr(target) + repr(vars(target)) + target.sha256()
    secrets = Secrets(asked.headers)
    assert secrets.filled(dict(asked.headers)) == {"Authorization": "Bearer very/secret+word"}
    echoed = "got very/secret+word, very%2Fsecret%2Bword and dmVyeS9zZWNyZXQrd29yZA=="
    assert secrets.struck(echoed) == "got [secret], [secret] and [secret]"


def test_templates_are_filled() -> None:
    assert filled({"a": ["<row>"], "b": 1}, "<row>", [[1, 2]]) == {"a": [[1, 2]], "b": 1}
    assert filled({"u": "data:image/png;base64,<row>"}, "<row>", ["QQ=="]) == {"u": "data:image/png;base64,QQ=="}
    assert filled("<rows>", {"x": "<row>", "k": ["c"]}, [1, 2]) == [{"x": 1, "k": ["c"]}, {"x": 2, "k": ["c"]}]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:45 GMT"}, 5.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset-after": "0.5"}, 0.5),
        ({"retry-after": "soon", "ratelimit-reset": "4"}, 4.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_an_endpoint_says_how_long_to_wait(headers: dict[str, str], wait: float | None) -> None:
    assert wait_of(headers, 1000.0) == wait


def test_an_estimate_counts_requests_time_and_money() -> None:
    found = estimated(
        1001, batch=10, cost=Cost(per_request=0.1, per_row=0.01, unit="EUR"), concurrency=4, interval=0.0, latency=0.4, measured=True
    )
    assert (found.requests, found.seconds, found.money) == (101, pytest.approx(10.1), pytest.approx(20.11))
    paced = estimated(60, batch=1, cost=Cost(), concurrency=8, interval=Rate(per_minute=30).interval, latency=0.1, measured=False)
    assert paced.seconds == pytest.approx(120)


def test_an_estimate_sends_nothing() -> None:
    target = Http("https://api.example.com/x", ALLOWED, answer=ANSWER, cost=Cost(per_row=0.002))
    found = target.estimate(100, 500)
    assert (found.queries, found.money, found.measured) == (50_000, pytest.approx(100.0), False)
    assert target.bill.attempts == 0


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Retry, {"attempts": 0}),
        (Retry, {"first": 9.0, "most": 1.0}),
        (Rate, {"concurrency": 0}),
        (Rate, {"per_second": 0}),
        (Timeout, {"read": 0}),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(kind: type, settings: dict[str, float]) -> None:
    with pytest.raises(BadPlan):
        kind(**settings)


def test_what_is_asked_makes_the_fingerprint_and_pace_does_not() -> None:
    def sha(**more: object) -> str:
        return Http("https://api.example.com/x", ALLOWED, **{"answer": ANSWER, **more}).sha256()

    same = sha()
    assert same == sha(rate=Rate(concurrency=9), budget=Budget(rows=5), retry=Retry(attempts=2))
    assert len({same, sha(answer=Answer(scores="y")), sha(request=Request(encode="list")), sha(request=Request(quality=80))}) == 4


def test_a_target_may_be_collected_in_the_thread_of_another_and_in_its_own() -> None:
    async def nothing() -> None: ...

    loop = Loop(nothing)

    async def collect() -> int:
        loop.stop()  # as a finaliser does
        return gc.collect()

    assert loop.run(collect()) >= 0
    loop.join()
    assert not loop._thread.is_alive()


def test_nothing_of_it_is_imported_before_it_is_needed() -> None:
    code = "import sys, json, vauban.target, vauban.target.http; print(json.dumps([m for m in ('httpx', 'jmespath', 'tenacity', 'aiolimiter') if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []


def test_http_is_offered_by_name_and_imported_when_it_is_first_used() -> None:
    code = (
        "import sys, vauban, vauban.target; assert 'torch' in sys.modules and 'vauban.target.http' not in sys.modules; "
        "assert vauban.Http is vauban.target.Http; assert 'vauban.target.http' in sys.modules and 'httpx' not in sys.modules; "
        "assert 'Http' in vauban.__all__ and 'Http' in vauban.target.__all__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys, vauban; assert not {'torch', 'httpx', 'vauban.target'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

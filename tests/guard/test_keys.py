"""The guard's secrets: made once, read by their owner alone, and told apart when something is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vauban.errors import BadGuard
from vauban.guard.keys import Keys, make_keys, read_keys, rotate_token_key


def test_keys_are_made_once_and_read_back(tmp_path: Path) -> None:
    made = make_keys(tmp_path)
    again = read_keys(tmp_path)
    assert (again.identity, again.ledger, dict(again.token)) == (made.identity, made.ledger, dict(made.token))
    assert {p.stat().st_mode & 0o777 for p in tmp_path.glob("*.json")} == {0o600}
    with pytest.raises(BadGuard, match="holds keys already"):
        make_keys(tmp_path)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "ledger.json").chmod(0o644)
    with pytest.raises(BadGuard, match="chmod 600"):
        read_keys(tmp_path)


@pytest.mark.parametrize(
    "content, said", [("", "is no key file"), ('{"key": "ab"}', "a key of 32 bytes"), ('{"key": 5}', "is no key file")]
)
def test_what_is_no_key_is_told(tmp_path: Path, content: str, said: str) -> None:
    make_keys(tmp_path)
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(BadGuard, match=said):
        read_keys(tmp_path)


def test_a_missing_key_says_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(BadGuard, match="vauban guard init"):
        read_keys(tmp_path)


def test_a_new_token_key_signs_and_the_last_one_still_verifies(tmp_path: Path) -> None:
    before = make_keys(tmp_path)
    assert rotate_token_key(tmp_path) == "2"
    after = read_keys(tmp_path)
    assert list(after.token) == ["1", "2"] and after.token["1"] == before.token["1"]
    assert rotate_token_key(tmp_path) == "3"
    assert list(read_keys(tmp_path).token) == ["2", "3"]


def test_one_value_of_two_kinds_has_two_hashes(keys: Keys) -> None:
    assert keys.hashed("device", "a") != keys.hashed("account", "a")
    assert keys.hashed("device", "a") == keys.hashed("device", "a")
    assert "secret" not in repr(keys) and keys.identity.hex() not in repr(keys)

"""The JSON Schema of the campaign file, for editors and other tools.

python -m vauban.campaign.file.schema > docs/schema/vauban.schema.json
"""

from __future__ import annotations

import json
import sys
from typing import Any, cast

from vauban.campaign.file.model import FileModel


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `vauban.toml`, read as JSON values."""
    found = FileModel.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_tidy(found), "title": "vauban.toml"}


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(value: Any) -> Any:
    """Without the titles that pydantic makes of names and without null, which TOML has not; descriptions on one line."""
    if isinstance(value, list):
        return [_tidy(v) for v in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    kept = {k: _tidy(v) for k, v in cast("dict[str, Any]", value).items() if not _noise(k, v)}
    choices = [c for c in kept.get("anyOf", ()) if c != {"type": "null"}]
    if "anyOf" in kept:
        kept.pop("anyOf")
        kept |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    if isinstance(kept.get("default"), dict):
        kept["default"] = {k: v for k, v in kept["default"].items() if v is not None}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    return kept


def _noise(key: str, value: object) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)


if __name__ == "__main__":
    sys.stdout.write(text())

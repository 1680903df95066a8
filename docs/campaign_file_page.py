"""The page of the campaign file, from its JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from page_parts import table

from vauban.campaign.file.schema import schema

TABLES = {
    "FileModel": ("", "The top of the file"),
    "TargetTable": ("[target]", "The model under attack"),
    "HttpTable": ("[target.http]", "A model behind an endpoint"),
    "AuthorisationTable": ("[target.http.authorisation]", "Who allows it"),
    "RequestTable": ("[target.http.request]", "How it is asked"),
    "AnswerTable": ("[target.http.answer]", "How its answers are read"),
    "RetryTable": ("[target.http.retry]", "What is tried again"),
    "TimeoutTable": ("[target.http.timeout]", "How long an attempt may take"),
    "RateTable": ("[target.http.rate]", "How fast it is asked"),
    "BudgetTable": ("[target.http.budget]", "What all questions may cost"),
    "CostTable": ("[target.http.cost]", "What an attempt costs"),
    "ProbeTable": ("[target.http.probe]", "How its steadiness is looked at"),
    "DefenceTable": ("[[defence]]", "A defence around it; as many as are wanted"),
    "DataTable": ("[data]", "The rows to attack"),
    "ThreatTable": ("[[threat]]", "One attacker; as many as are wanted"),
    "GoalTable": ("goal", "The value of `goal` in a threat, where it is no word"),
    "AttackTable": ("[[threat.attack]]", "One attack of a threat"),
    "SurrogateTable": ("[[surrogate]]", "A model of the attacker's own"),
    "TrainTable": ("[surrogate.train]", "How it is trained"),
    "PromiseTable": ("[promise.THREAT]", "What is promised under a threat"),
    "RunTable": ("[run]", "How the campaign is run"),
    "HardenTable": ("[harden]", "Training that makes it withstand more"),
    "MethodTable": ("[harden.method]", "The way of training"),
}


def campaign_page() -> str:
    """The keys of `vauban.toml`, table by table."""
    found = schema()
    parts = [
        "# The campaign file",
        "`vauban.toml`: unknown keys are refused, with the line and the nearest known name. Paths are relative to the file. "
        'Fractions such as `eps = "8/255"` are read exactly. The JSON Schema of the file is '
        "[vauban.schema.json](../schema/vauban.schema.json); editors that know TOML schemas complete and check with it.",
    ]
    for name, (header, what) in TABLES.items():
        said = found if name == "FileModel" else found["$defs"][name]
        parts += [f"## {f'`{header}`' if header else what}", what + "." if header else "", _keys(said)]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


def _keys(said: dict[str, Any]) -> str:
    needed = said.get("required", ())
    rows = []
    for key, value in said["properties"].items():
        default = "needed" if key in needed else f"`{_short(value['default'])}`" if value.get("default") not in (None, "", [], {}) else ""
        rows.append([f"`{key}`", type_of(value), default, value.get("description", "")])
    return table(["key", "value", "default", "meaning"], rows)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_short(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def type_of(value: dict[str, Any]) -> str:
    """The kind of a value in a few words."""
    if "enum" in value:
        return " or ".join(f'`"{v}"`' for v in value["enum"])
    if "const" in value:
        return f'`"{value["const"]}"`'
    if "$ref" in value:
        return "table"
    if "anyOf" in value or "oneOf" in value:
        return " or ".join(dict.fromkeys(type_of(v) for v in value.get("anyOf", value.get("oneOf"))))
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "table"}
    if value.get("type") == "array":
        return "list of tables" if "$ref" in value.get("items", {}) else "list"
    return words.get(value.get("type", ""), "value")

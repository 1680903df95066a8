"""The page of the command line, from its verbs."""

from __future__ import annotations

import inspect
from typing import Any

from page_parts import table
from typer.main import get_command

from vauban.cli.main import VERBS, application


def cli_page() -> str:
    """Every verb with its arguments and options."""
    group: Any = get_command(application())
    parts = ["# Command line", _prose(group.help), _options(group.params)]
    for verb in VERBS:
        command = group.commands[verb]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        line = " ".join(["vauban", verb, "[OPTIONS]", *(_argument(a) for a in arguments)])
        parts += [f"## vauban {verb}", f"```text\n{line}\n```", _prose(command.help), _arguments(arguments)]
        parts += [_options([p for p in command.params if p.param_type_name == "option"])]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


def _argument(parameter: Any) -> str:
    name = parameter.name.upper()
    return name if parameter.required else f"[{name}]"


def _prose(text: str) -> str:
    """A verb's help; what is set apart in it is examples."""
    blocks = []
    for block in inspect.cleandoc(text).split("\n\n"):
        lines = block.replace("\b", "").strip().splitlines()
        example = all(line.startswith("vauban ") for line in lines)
        blocks.append("```text\n" + "\n".join(lines) + "\n```" if example and lines else " ".join(lines))
    return "\n\n".join(b for b in blocks if b)


def _arguments(arguments: list[Any]) -> str:
    rows = ([f"`{a.name.upper()}`", _default(a), getattr(a, "help", "") or ""] for a in arguments)
    return table(["argument", "default", "meaning"], rows) if arguments else ""


def _options(options: list[Any]) -> str:
    rows = []
    for option in options:
        if option.name == "help":
            continue
        value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
        rows.append([f"`{', '.join(option.opts)}{value}`", _default(option), option.help or ""])
    return table(["option", "default", "meaning"], rows) if rows else ""


def _default(parameter: Any) -> str:
    value = parameter.default
    return "" if value is None or value is False or value == "" or callable(value) or parameter.required else f"`{value}`"

"""Pages of defences and of ways of training, from what they declare; with what the committed matrix measured of them."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable
from typing import Any, get_type_hints

from measured_part import measured
from page_parts import kind, source, table

from vauban.defences import DEFENCES, Design
from vauban.defences.registry import FAMILIES
from vauban.defences.training import METHODS, Manner
from vauban.defences.training.measures import named


def defence_pages() -> dict[str, str]:
    """Every page, by its path below docs/."""
    found = {"defences/index.md": index()}
    found |= {f"defences/{name}.md": defence(design) for name, design in sorted(DEFENCES.items())}
    found |= {f"training/{name}.md": method(manner) for name, manner in sorted(METHODS.items())}
    return found


def index() -> str:
    """The tables of all defences and of all ways of training."""
    rows = (
        [f"[{n}]({n}.md)", f.family, f.claims, f.adaptive]
        for family in FAMILIES
        for n, f in ((n, d.facts) for n, d in sorted(DEFENCES.items()))
        if f.family == family
    )
    ways = ([f"[{n}](../training/{n}.md)", m.facts.summary, source(m.facts.paper)] for n, m in sorted(METHODS.items()))
    return "\n\n".join(
        [
            "# Defences",
            "A defence stands around a target and answers like one. It states what it claims to stop, and carries the gradients and the "
            "attacks of an attacker that knows it, which every audit contains: the attack that does not know of it (`oblivious`) runs first "
            "and gives the *naive* number, and what is left in the end is the robust one.",
            '```toml\n[[defence]]\nname = "bit-depth"\nbits = 4\n```',
            table(["defence", "family", "claims to stop", "attacked here by"], rows),
            "## Training",
            "Training changes the weights. `[harden.method]` of a campaign file names the way, and `vauban harden` [goes it](../howto/harden.md).",
            table(["method", "what it does", "source"], ways),
        ]
    )


def defence(design: Design[...]) -> str:
    """One defence: what it claims, how it is attacked, what is known of it, its settings, its use, its code."""
    facts = design.facts
    owes = ", ".join(f"`{o.attack}`" + (f" ({_said(o.settings)})" if o.settings else "") for o in facts.owes)
    about = [
        ["family", facts.family],
        ["claims to stop", facts.claims],
        ["attacked here by", facts.adaptive],
        ["owes, besides the suite", owes or "nothing: the suite takes its gradients"],
        ["fitted on clean rows", "yes: held-out ones, given as `data`" if facts.fits else "no"],
        ["inputs", "images (channels, height, width)" if facts.images else "any shape"],
        ["source", source(facts.paper)],
        *([["known of it", source(facts.broken)]] if facts.broken else []),
    ]
    name = facts.name.replace("-", "_")
    data = 'data = { load = "held-out.npz" }\n' if facts.fits else ""
    given = ", clean" if facts.fits else ""
    use = (
        f'```toml\n[[defence]]\nname = "{facts.name}"\n{_needed(design.parameters)}{data}```',
        f"```python\nfrom vauban.defences import {name}\n\nbound = {name}({_python(design.parameters)})\n```",
        f"`bound.around(target{given})` is the defended target.",
    )
    return _page(facts.name, facts.summary, about, design.parameters, design.function, use, measured(facts.name))


def method(manner: Manner[...]) -> str:
    """One way of training."""
    facts = manner.facts
    about = [
        ["source", source(facts.paper)],
        ["best epoch by", f"{named(facts.measure)}, of held-out rows" if facts.measure else "held-out rows under PGD"],
    ]
    name = facts.name.replace("-", "_")
    use = (
        f'```toml\n[harden.method]\nname = "{facts.name}"\n{_needed(manner.parameters)}```',
        f'```python\nfrom vauban.defences.training import find\n\nbound = find("{facts.name}")({_python(manner.parameters)})\n```',
        f"`harden(model, rows, threat, method=bound)` trains with it. In a file of your own it is `{name}`.",
    )
    return _page(facts.name, facts.summary, about, manner.parameters, manner.function, use, measured(facts.name))


def _page(
    name: str, summary: str, about: list[list[str]], parameters: dict[str, inspect.Parameter], function: Callable[..., Any],
    use: tuple[str, ...], found: str,
) -> str:  # fmt: skip
    parts = [f"# {name}", summary, table(["fact", ""], about), "## Settings", _settings(parameters, function), "## Use", *use]
    parts += [found, "## Code", f"In `src/{function.__module__.replace('.', '/')}.py`:", _source(function)]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


def _settings(parameters: dict[str, inspect.Parameter], function: Callable[..., Any]) -> str:
    if not parameters:
        return "None."
    hints = get_type_hints(function, include_extras=True)
    rows = ([f"`{n}`", kind(hints[n]), "needed" if p.default is p.empty else f"`{json.dumps(p.default)}`"] for n, p in parameters.items())
    return table(["setting", "value", "default"], rows)


def _said(settings: Any) -> str:
    return ", ".join(f"{k} = {json.dumps(v)}" for k, v in settings.items())


EXAMPLES: dict[str, Any] = {"load": "steps.py:sharpened", "sources": "models.py:others", "sigma": 0.25}
"""Values for settings that have no default."""


def _example(name: str, p: inspect.Parameter) -> Any:
    return EXAMPLES.get(name, 1) if p.default is p.empty else p.default


def _needed(parameters: dict[str, inspect.Parameter]) -> str:
    """The settings that are needed, or else the first, as lines of a file."""
    needed = {n: p for n, p in parameters.items() if p.default is p.empty} or dict(list(parameters.items())[:1])
    said = {n: _example(n, p) for n, p in needed.items()}
    return "".join(f"{n} = {json.dumps(v)}\n" for n, v in said.items() if v is not None)


def _python(parameters: dict[str, inspect.Parameter]) -> str:
    needed = {n: p for n, p in parameters.items() if p.default is p.empty} or dict(list(parameters.items())[:1])
    return ", ".join(f"{n}={_literal(_example(n, p))}" for n, p in needed.items())


def _source(function: Callable[..., Any]) -> str:
    return f"<!-- test: compile -->\n```python\n{textwrap.dedent(inspect.getsource(function)).rstrip()}\n```"


def _literal(value: Any) -> str:
    """A value as Python writes it, with double quotes."""
    return json.dumps(value) if isinstance(value, str) else repr(value)

"""Pages of attacks, from what they declare; and their table in the README."""

from __future__ import annotations

import inspect
import json
import textwrap
from typing import get_type_hints

from page_parts import kind as kind_of
from page_parts import source, table

from vauban.attacks import ATTACKS, Attack, Recipe
from vauban.attacks.registry import KINDS
from vauban.attacks.suites import SUITES
from vauban.threat import Access, Ball, Feature, Features, Patch, Threat, Transformations

NORMS = {
    "linf": "L∞",
    "l2": "L2",
    "l1": "L1",
    "l0": "L0",
    "pixels": "L0 of pixels",
    "patch": "patches",
    "transformations": "transformations",
    "features": "features of a table",
}


def attack_table() -> str:
    """Attacks by norm, as the README shows them."""
    groups = {
        "gradient, inside the radius": [
            n for n, r in ATTACKS.items() if r.facts.access > Access.SCORE and not (r.facts.minimal or r.facts.proof)
        ],
        "gradient, smallest change": [n for n, r in ATTACKS.items() if r.facts.access > Access.SCORE and r.facts.minimal],
        "scores": [n for n, r in ATTACKS.items() if r.facts.access is Access.SCORE],
        "labels": [n for n, r in ATTACKS.items() if r.facts.access is Access.LABEL],
        "proof": [n for n, r in ATTACKS.items() if r.facts.proof],
        "no access": [n for n, r in ATTACKS.items() if not r.facts.access],
    }

    def names(group: list[str], kind: str) -> str:
        return ", ".join(f"`{n}`" for n in sorted(group) if kind in ATTACKS[n].facts.on) or "-"

    return "\n" + table(["", *groups], ([NORMS[k], *(names(g, k) for g in groups.values())] for k in KINDS)) + "\n"


def attack_index() -> str:
    """The table of all attacks."""
    rows = (
        [f"[{n}]({n}.md)", f.access.name.lower(), ", ".join(NORMS[k] for k in f.on), "yes" if f.minimal else "", source(f.paper)]
        for n, f in ((n, r.facts) for n, r in sorted(ATTACKS.items()))
    )
    intro = (
        "# Attacks\n\nEvery attack works for every goal: untargeted, a wanted class, one class for each input, directional. "
        "*Access* is what its questions need. *Smallest change* marks attacks that give every row a distance.\n\n"
    )
    return intro + table(["attack", "access", "on", "smallest change", "source"], rows) + "\n" + suite_table()


def suite_table() -> str:
    rows = ([f"`{name}`", NORMS[kind], ", ".join(map(_choice, _suite(name, kind)))] for name in SUITES for kind in KINDS)
    return (
        "## Suites\n\nAttacks of a suite that need more access than the threat grants are left out, and so are those that need images "
        "where there are none.\n\n" + table(["suite", "under", "attacks, in order"], rows)
    )


def _suite(name: str, kind: str) -> list[Attack]:
    others = {
        "transformations": Transformations(),
        "features": Features([Feature("any")], 1),
        "patch": Patch(1),
        "pixels": Ball(1, "l0", pixels=True),
    }
    threat = Threat("any", others[kind] if kind in others else Ball(1, kind))
    return [a for a in SUITES[name](threat) if kind in a.facts.on]


def _choice(attack: Attack) -> str:
    """An attack of a suite, with the settings that are not its defaults."""
    usual = ATTACKS[attack.name].bind().settings
    said = ", ".join(f"{k} = {json.dumps(v)}" for k, v in attack.settings.items() if v != usual[k])
    return f"{attack.name} ({said})" if said else attack.name


def attack_page(recipe: Recipe[...]) -> str:
    """One attack: facts, settings, how to ask for it, and its code."""
    facts = recipe.facts
    about = [
        ["access", facts.access.name.lower()],
        ["perturbations", ", ".join(NORMS[k] for k in facts.on)],
        ["smallest change", "yes: every row gets a distance" if facts.minimal else "no: works inside the threat's radius"],
        ["baseline", "yes: it optimises nothing" if facts.baseline else "no"],
        ["inputs", "images (channels, height, width)" if facts.images or facts.on == ("transformations",) else "any shape"],
        ["source", source(facts.paper)],
        *([] if facts.proof else [["MITRE ATLAS", facts.atlas], ["NIST AI 100-2", facts.nist]]),
        ["suites", ", ".join(f"`{s}`" for s in SUITES if any(facts.name == a.name for k in KINDS for a in _suite(s, k))) or "none"],
    ]
    parts = [f"# {facts.name}", facts.summary, table(["fact", ""], about), *_settings(recipe), *_use(recipe), *_code(recipe)]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


def _settings(recipe: Recipe[...]) -> list[str]:
    if not recipe.parameters:
        return ["## Settings", "None."]
    hints = get_type_hints(recipe.function, include_extras=True)
    rows = ([f"`{n}`", kind_of(hints[n]), f"`{json.dumps(p.default)}`"] for n, p in recipe.parameters.items())
    return ["## Settings", table(["setting", "value", "default"], rows)]


def _use(recipe: Recipe[...]) -> list[str]:
    first = next(iter(recipe.parameters.items()), None)
    setting = "" if first is None else f"{first[0]} = {json.dumps(first[1].default)}\n"
    python = f"{recipe.facts.name.replace('-', '_')}({setting.strip().replace(' = ', '=')})"
    name = recipe.facts.name.replace("-", "_")
    return [
        "## Use",
        f'```toml\n[[threat.attack]]\nname = "{recipe.facts.name}"\n{setting}```',
        f"```python\nfrom vauban.attacks import {name}\n\nbound = {python}\n```",
    ]


def _code(recipe: Recipe[...]) -> list[str]:
    if recipe.preset:
        base = next((n for n, r in ATTACKS.items() if r.function is recipe.function and not r.preset), None)
        if base is None:
            return ["## Code", f"Another attack, wrapped: `src/{recipe.__module__.replace('.', '/')}.py`."]
        return ["## Code", f"These settings of [{base}]({base}.md), under the name that the field knows them by."]
    function = textwrap.dedent(inspect.getsource(recipe.function))
    where = f"src/{recipe.__module__.replace('.', '/')}.py"
    return ["## Code", f"In `{where}`:", f"<!-- test: compile -->\n```python\n{function.rstrip()}\n```"]

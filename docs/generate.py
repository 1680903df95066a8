"""Write what follows from the code: pages of attacks, keys, verbs, names and the record; the README's table; and what was measured.

python docs/generate.py          # writes them; `make docs-pages` does the same
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typer.main import get_command

import vauban
from vauban.attacks import ATTACKS, Attack, Recipe
from vauban.attacks.registry import KINDS
from vauban.attacks.suites import SUITES
from vauban.campaign import record as records
from vauban.campaign.file.schema import schema
from vauban.cli.main import VERBS, application
from vauban.threat import Access, Ball, Feature, Features, Patch, Threat, Transformations

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from defence_pages import DEFENCES, METHODS, Writer  # noqa: E402  # beside this file

NOTE = "<!-- Written by docs/generate.py; change the code it is made from, then run `make docs-pages`. -->\n\n"
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
RECORD = (
    "Record", "TargetCard", "DefenceCard", "DataCard", "Finding", "ThreatCard", "AttackResult", "Ledger", "Rate", "Curve", "Group",
    "Validity", "Doubt", "Promise",
)  # fmt: skip
BENCHMARKS = """# Benchmarks

`make bench DATA=DIR` builds an environment of its own, measures Vauban beside ART, Foolbox, torchattacks and adversarial-library on the models
and data in `DIR`, and writes lines of JSON and a table to `benchmarks/results/`. Nothing below was typed by hand.

* Times are CPU seconds of one thread, beside bare passes of the same model on the same rows measured in the same process.
* All libraries get the same rows and the same settings, and one referee judges all examples: inside the box, inside the radius,
  misclassified.
* Differences of less than 5% (tiny CNN) or 15% (ResNet) are within the noise of a busy machine.

`benchmarks/README.md` in the repository says the rest."""
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


def pages() -> dict[str, str]:
    """Every generated page, by its path below docs/."""
    found = {"attacks/index.md": attack_index()}
    found |= {f"attacks/{name}.md": attack_page(recipe) for name, recipe in sorted(ATTACKS.items())}
    found |= Writer(table, _kind, source).pages()
    found["reference/campaign-file.md"] = campaign_page()
    found["reference/cli.md"] = cli_page()
    found["reference/python.md"] = python_page()
    found["reference/record.md"] = record_page()
    found["benchmarks.md"] = benchmarks_page()
    return {path: NOTE + text.rstrip() + "\n" for path, text in found.items()}


def main() -> None:
    """Write the pages, remove pages of attacks that are gone, and put the table into the README."""
    made = pages()
    for path, text in made.items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_text(text, encoding="utf-8")
    for folder in ("attacks", "defences", "training"):
        for old in (HERE / folder).glob("*.md"):
            if f"{folder}/{old.name}" not in made:
                old.unlink()
    for name, kept in (("README.md", with_table), ("mkdocs.yml", with_navigation)):
        file = HERE.parent / name
        file.write_text(kept(file.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{len(made)} pages\n")


def with_table(readme: str) -> str:
    """The README with the table of attacks between its two marks."""
    return re.sub(r"(<!-- attacks -->\n).*?(<!-- /attacks -->)", lambda m: m[1] + attack_table() + m[2], readme, flags=re.DOTALL)


def with_navigation(site: str) -> str:
    """mkdocs.yml with the pages of attacks, defences and ways of training between their marks."""
    for folder, names in (("attacks", ATTACKS), ("defences", DEFENCES), ("training", METHODS)):
        lines = "".join(f"      - {name}: {folder}/{name}.md\n" for name in sorted(names))
        site = re.sub(
            rf"(      # {folder},[^\n]*\n).*?(      # /{folder}\n)", lambda m, new=lines: m[1] + new + m[2], site, flags=re.DOTALL
        )
    return site


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# ---- attacks --------------------------------------------------------------------------------------------------------------------------


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
    rows = ([f"`{n}`", _kind(hints[n]), f"`{json.dumps(p.default)}`"] for n, p in recipe.parameters.items())
    return ["## Settings", table(["setting", "value", "default"], rows)]


def _kind(hint: Any) -> str:
    """What a setting may be, from its annotation."""
    if get_origin(hint) is Literal:
        return " or ".join(f'`"{v}"`' for v in get_args(hint))
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    limits = [limit for note in notes for limit in getattr(note, "metadata", ())]
    said = {"ge": "{:g} or more", "gt": "above {:g}", "le": "at most {:g}", "lt": "below {:g}"}
    texts = [text.format(value) for name, text in said.items() for limit in limits if (value := getattr(limit, name, None)) is not None]
    return ", ".join([words.get(base, "a value"), *texts])


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


def source(paper: str) -> str:
    """A source with its arXiv number as a link."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


# ---- the campaign file ----------------------------------------------------------------------------------------------------------------


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
        rows.append([f"`{key}`", _type(value), default, value.get("description", "")])
    return table(["key", "value", "default", "meaning"], rows)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_short(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _type(value: dict[str, Any]) -> str:
    """The kind of a value in a few words."""
    if "enum" in value:
        return " or ".join(f'`"{v}"`' for v in value["enum"])
    if "const" in value:
        return f'`"{value["const"]}"`'
    if "$ref" in value:
        return "table"
    if "anyOf" in value or "oneOf" in value:
        return " or ".join(dict.fromkeys(_type(v) for v in value.get("anyOf", value.get("oneOf"))))
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "table"}
    if value.get("type") == "array":
        return "list of tables" if "$ref" in value.get("items", {}) else "list"
    return words.get(value.get("type", ""), "value")


# ---- the command line -----------------------------------------------------------------------------------------------------------------


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


# ---- Python and the record ------------------------------------------------------------------------------------------------------------


def python_page() -> str:
    """The public names of the package."""
    names = [n for n in vauban.__all__ if not n.startswith("__")]
    found = {n: getattr(vauban, n) for n in sorted(names, key=lambda n: (n != "audit", n.lower()))}
    intro = (
        "# Python\n\nEverything below is imported from `vauban`; attacks from `vauban.attacks` by name (`from vauban.attacks import pgd`), "
        "errors from `vauban.errors`. A name is loaded when it is first used, so that `import vauban` does not import torch.\n"
    )
    rows = ([f"[`{n}`](#{n.lower()})", plain(first_line(v))] for n, v in found.items())
    parts = [intro, table(["name", "what it is"], rows), *(_member(n, v) for n, v in found.items())]
    return "\n".join(parts)


def _member(name: str, value: object) -> str:
    parts = [f"## {name}", plain(first_line(value))]
    for section in ("Args", "Attributes", "Returns", "Raises"):
        entries = list(entries_of(value, section))
        if entries:
            parts += [f"{section}:", "\n".join(f"* `{n}`: {plain(t)}" if n else f"* {plain(t)}" for n, t in entries)]
    return "\n\n".join(parts) + "\n"


def record_page() -> str:
    """The format of `record.json`."""
    intro = (
        f"# The record\n\n`record.json` is written once, atomically, at the end of a run. Its format is {records.SCHEMA} (`schema`); "
        "a record of another format is refused. It is plain JSON: `vauban show --json` prints it, and "
        "`vauban.Record.read(path)` reads it without importing torch.\n"
    )
    return "\n".join([intro, *(_shape(getattr(records, name)) for name in RECORD)])


def _shape(kind: Any) -> str:
    said = {n.strip(): t for names, t in entries_of(kind, "Attributes") for n in names.split(",")}
    rows = ([f"`{f.name}`", f"`{f.type}`", plain(said.get(f.name, ""))] for f in fields(kind))
    return f"## {kind.__name__}\n\n{plain(first_line(kind))}\n\n" + table(["field", "type", "meaning"], rows)


def benchmarks_page() -> str:
    """How Vauban is measured beside other libraries, and every table that was kept."""
    kept = sorted((HERE.parent / "benchmarks" / "results").glob("*.md"))
    results = [re.sub(r"(?m)^#", "##", file.read_text(encoding="utf-8")).strip() for file in kept]
    return "\n\n".join([BENCHMARKS, *(results or ["No results are kept in `benchmarks/results/` yet."])])


def first_line(value: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def entries_of(value: object, section: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each entry in a section of a docstring; the name is empty where it has none."""
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n(?=    ))+)", (inspect.getdoc(value) or "") + "\n", re.MULTILINE)
    if found is None:
        return
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(found[1]).strip()):
        text = " ".join(entry.split())
        name, colon, rest = text.partition(": ")
        named = bool(colon) and re.fullmatch(r"[\w, ]+", name) is not None
        yield (name, rest) if named else ("", text)


def plain(text: str) -> str:
    """Docstring text in Markdown: what would be read as markup is not."""
    return re.sub(r"(?<!`)\*(?!`)", r"\\*", text)


if __name__ == "__main__":
    main()

"""Write what follows from the code: pages of attacks, keys, verbs, names and the record; the README's table; and what was measured.

python docs/generate.py          # writes them; `make docs-pages` does the same
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from attack_pages import attack_index, attack_page, attack_table  # noqa: E402  # beside this file, like the next five
from campaign_file_page import campaign_page  # noqa: E402
from cli_page import cli_page  # noqa: E402
from defence_pages import DEFENCES, METHODS, defence_pages  # noqa: E402
from guard_file_page import guard_file_page  # noqa: E402
from python_pages import python_page, record_page  # noqa: E402

from vauban.attacks import ATTACKS  # noqa: E402

NOTE = "<!-- Written by docs/generate.py; change the code it is made from, then run `make docs-pages`. -->\n\n"
BENCHMARKS = """# Benchmarks

`make bench DATA=DIR` builds an environment of its own, measures Vauban beside ART, Foolbox, torchattacks and adversarial-library on the models
and data in `DIR`, and writes lines of JSON and a table to `benchmarks/results/`. Nothing below was typed by hand.

* Times are CPU seconds of one thread, beside bare passes of the same model on the same rows measured in the same process.
* All libraries get the same rows and the same settings, and one referee judges all examples: inside the box, inside the radius,
  misclassified.
* Differences of less than 5% (tiny CNN) or 15% (ResNet) are within the noise of a busy machine.

`benchmarks/README.md` in the repository says the rest."""


def pages() -> dict[str, str]:
    """Every generated page, by its path below docs/."""
    found = {"attacks/index.md": attack_index()}
    found |= {f"attacks/{name}.md": attack_page(recipe) for name, recipe in sorted(ATTACKS.items())}
    found |= defence_pages()
    found["reference/campaign-file.md"] = campaign_page()
    found["reference/guard-file.md"] = guard_file_page()
    found["reference/cli.md"] = cli_page()
    found["reference/python.md"] = python_page()
    found["reference/record.md"] = record_page()
    found["benchmarks.md"] = benchmarks_page()
    found["guard/measured.md"] = guard_page()
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


def benchmarks_page() -> str:
    """How Vauban is measured beside other libraries, and every table that was kept."""
    kept = sorted((HERE.parent / "benchmarks" / "results").glob("*.md"))
    results = [re.sub(r"(?m)^#", "##", file.read_text(encoding="utf-8")).strip() for file in kept]
    return "\n\n".join([BENCHMARKS, *(results or ["No results are kept in `benchmarks/results/` yet."])])


GUARD = """# What the guard costs, and what it costs an attacker

`python -m benchmarks.guard_cost` serves three small networks for 112 x 112 pictures once behind the guard and once behind a bare endpoint of FastAPI
and ONNX Runtime, asks both over HTTP in turns, and tells the CPU time of all their processes. `python -m benchmarks.siege FOLDER`, where FOLDER is
what `make demo-guard` made, attacks the guard as `[target.guard]` does: through its real interface, with the days passing in its database.

*Device-days each* is what was spent for each spoof that passed: devices times days. Decision-based attacks start from live faces of the attacker's
own; a spoof that is near to one of these may pass after a handful of questions, which no limit prevents. What limits and likeness prevent is the walk
along the boundary, which *nearest* shows: how far the nearest examples of all spoofs still are. *Attempts let in* are what the devices got before the
lock-out ladder blocked them: a device that is only ever rejected gets some 20 attempts, not 10 a day for 90 days, and then waits for an operator. So
an attacker needs new devices more than days. *Extraction* says how often the copy answers as the three models do, on pictures of its own kind.

What a core does in a millisecond depends on what else its machine does. Of the cost two runs are kept, hours apart: compare the guard with the bare
endpoint of the same run.

`python -m benchmarks.guard_races` lets many processes race for the places of devices: every place must be taken once, and every decision recorded.

Nothing below was typed by hand."""


def guard_page() -> str:
    """The latest of what was kept of the guard's cost and of the siege."""
    results = HERE.parent / "benchmarks" / "results"
    kept = [sorted(results.glob(f"*-{name}.md"))[-1:] for name in ("guard-cost", "guard-cost-later", "guard-races", "siege")]
    told = [re.sub(r"(?m)^#", "##", file[0].read_text(encoding="utf-8")).strip() for file in kept if file]
    return "\n\n".join([GUARD, *told])


if __name__ == "__main__":
    main()

"""The documentation: its blocks run, its links lead somewhere, its generated pages are those the code gives, and the site builds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pages import Block, Reader, alike, blocks_of, first_missing

from vauban.attacks import ATTACKS
from vauban.campaign.doubts import DOUBTERS
from vauban.campaign.file.guests import guests
from vauban.campaign.file.model import FileModel
from vauban.campaign.file.read import read_text
from vauban.campaign.waivers import read_waivers
from vauban.report.advice import ADVICE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
RUN = [p for p in PAGES if any(b.language in ("python", "console") for b in blocks_of(p)) and p.parent != DOCS / "attacks"]
LONG = {DOCS / "tutorials" / "liveness.md"}
LEAST = {
    "target": {"load": "model.py:build"},
    "data": {"load": "data.npz"},
    "threat": [{"name": "insider", "eps": 0.1}],
}
"""What a part of a campaign file is completed with."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py, imported."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the page's own; what it imports and registers is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    with guests():
        yield tmp_path
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(tmp_path)):
            del sys.modules[name]


def timed(page: Path) -> object:
    """The page as a case; one that trains networks for minutes is slow."""
    return pytest.param(page, id=named(page), marks=pytest.mark.slow) if page in LONG else pytest.param(page, id=named(page))


@pytest.mark.parametrize("page", list(map(timed, RUN)))
def test_a_page_does_what_it_says(page: Path, elsewhere: Path) -> None:
    Reader(page, elsewhere).read()


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_the_page_of_an_attack_says_how_to_bind_it(name: str, elsewhere: Path) -> None:
    reader = Reader(DOCS / "attacks" / f"{name}.md", elsewhere)
    reader.read()
    assert reader.names["bound"].name == name


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language == "toml" for b in blocks_of(p))], ids=named)
def test_campaign_files_in_a_page_are_read(page: Path, tmp_path: Path) -> None:
    for block in blocks_of(page):
        if block.language == "toml" and not block.order.startswith(("set", "skip")):
            check_toml(block, tmp_path / page.name)


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language == "yaml" for b in blocks_of(p))], ids=named)
def test_pipelines_in_a_page_are_yaml(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict), f"{page.name}:{block.line}"


def check_toml(block: Block, path: Path) -> None:
    """A whole campaign file as the reader reads it, a part of one completed, or a file of waivers."""
    found = tomllib.loads(block.text)
    if "waiver" in found:
        path.write_text(block.text)
        read_waivers(path)
    elif {"target", "data", "threat"} <= found.keys():
        read_text(block.text, path)
    else:
        threat = found.get("threat")
        if isinstance(threat, dict):  # [[threat.attack]] alone
            found["threat"] = [{**LEAST["threat"][0], **threat}]
        FileModel.model_validate({**LEAST, **found})


def test_the_generated_pages_are_those_that_the_code_gives(generate: ModuleType) -> None:
    made = generate.pages()
    stale = [path for path, text in made.items() if not (DOCS / path).is_file() or (DOCS / path).read_text(encoding="utf-8") != text]
    assert not stale, f"run `make docs-pages`: {stale}"
    for folder in ("attacks", "defences", "training"):
        assert {f"{folder}/{p.name}" for p in (DOCS / folder).glob("*.md")} <= made.keys()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert generate.with_table(readme) == readme, "run `make docs-pages`: the README's table of attacks"
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert generate.with_navigation(site) == site, "run `make docs-pages`: the navigation in mkdocs.yml"


def test_every_attack_has_a_page_and_stands_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for name in ATTACKS:
        assert (DOCS / "attacks" / f"{name}.md").is_file()
        assert f"attacks/{name}.md" in navigation, f"add attacks/{name}.md to the navigation in mkdocs.yml"


def test_every_doubt_has_a_heading() -> None:
    headings = set(re.findall(r"(?m)^## ([a-z-]+)$", (DOCS / "doubts.md").read_text()))
    assert headings == set(ADVICE)
    assert headings == {doubter.__name__.replace("_", "-") for doubter in DOUBTERS}


def test_links_lead_to_files_and_headings() -> None:
    broken = [f"{named(page)}: {link}" for page in PAGES for link in links_of(page) if not leads(page, link)]
    assert not broken, "\n".join(broken)


def links_of(page: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "code", text)
    yield from (link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link)


def leads(page: Path, link: str) -> bool:
    where, _, heading = link.partition("#")
    target = (page.parent / where).resolve() if where else page
    if not target.exists():
        return False
    return not heading or heading in {slug(h) for h in re.findall(r"(?m)^#+ (.+)$", target.read_text(encoding="utf-8"))}


def slug(heading: str) -> str:
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower())


def test_the_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"\bmake ([a-z-]+)", readme))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"(?m)^{target}:", makefile), f"the Makefile has no {target}"


def test_pictures_are_small() -> None:
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < 300_000, picture.name


def test_the_site_builds_and_fetches_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    surroundings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        fetched = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="?(https?://[^">\s]+)', page.read_text(encoding="utf-8"))
        assert not fetched, f"{page.name} fetches {fetched}"


def test_shown_output_is_compared_line_by_line() -> None:
    assert first_missing("a  1.5%\n...\nb", "a 27.5%\nother\nb\n") is None
    assert first_missing("b\na", "a\nb\n") == "a"
    assert alike("HOLDS  x: 5.0% [1, 2]") != alike("BREACHED  x: 5.0% [1, 2]")


def test_a_page_that_is_wrong_is_told_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ false\n$ echo $?\n0\n```\n")
    with pytest.raises(AssertionError, match="exit code"):
        Reader(page, tmp_path).read()
    page.write_text("```console\n$ echo one\ntwo\n```\n")
    with pytest.raises(AssertionError, match="no line like 'two'"):
        Reader(page, tmp_path).read()

"""The guide does what it says: every block of every chapter runs, in order, in a folder of its own."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from candelabra.cli import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = DOCS / "guide"
CHAPTERS = sorted(path.stem for path in GUIDE.glob("[0-9]*.md"))
TRAINING = "08-training"
FROM_TRAINING = [name for name in CHAPTERS if name >= TRAINING]
BLOCK = re.compile(r"(?P<note><!-- not run: (?P<why>[^>]+) -->\n+)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
LEFT_OUT = 3
"""How many blocks of the entire guide may stay unrun."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a chapter; ``line`` is where its text begins."""

    file: Path
    line: int
    kind: str
    text: str
    why_not: str | None


def blocks(file: Path) -> list[Block]:
    page = file.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        found.append(Block(file, line, match["kind"], match["text"], match["why"]))
    return found


def commands(text: str) -> list[str]:
    """The commands of a shell block; a backslash at the end of a line goes on in the next."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def run(file: Path) -> None:
    """Run every block of a chapter in the working folder; Python blocks share their names."""
    names: dict[str, object] = {"__name__": "guide"}
    for block in blocks(file):
        if block.why_not:
            continue
        if block.kind == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(file), "exec", dont_inherit=True)
            exec(code, names)
        for command in commands(block.text) if block.kind == "sh" else ():
            words = shlex.split(command)
            assert words[0] == "candelabra", f"{file.name}, line {block.line}: {command}: only candelabra commands can be run"
            extra = [] if words[1] not in ("train", "demo") else ["--set", "training.threads=1", "--quiet"]
            assert main([*words[1:], *extra]) == 0, f"{file.name}, line {block.line}: {command}"


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        yield


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the guide's first page makes."""
    folder = tmp_path_factory.mktemp("guide")
    with inside(folder):
        run(GUIDE / "README.md")
    return folder


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name < TRAINING])
def test_a_chapter_before_training_runs(name: str, market: Path, tmp_path: Path) -> None:
    shutil.copytree(market, tmp_path / "guide")
    with inside(tmp_path / "guide"):
        run(GUIDE / f"{name}.md")


@pytest.mark.slow
def test_training_and_the_chapters_after_it_run(market: Path, tmp_path: Path) -> None:
    shutil.copytree(market, tmp_path / "guide")
    with inside(tmp_path / "guide"):
        for name in FROM_TRAINING:
            run(GUIDE / f"{name}.md")


def test_few_blocks_stay_unrun_and_each_says_why() -> None:
    every = [block for file in GUIDE.glob("*.md") for block in blocks(file)]
    left_out = [block for block in every if block.why_not]
    assert len(left_out) <= LEFT_OUT, [f"{b.file.name}:{b.line} {b.why_not}" for b in left_out]
    assert {block.kind for block in every if not block.why_not} <= {"python", "sh", "text", "toml", "json"}
    assert sum(block.kind in ("python", "sh") and not block.why_not for block in every) > 40


def test_every_chapter_is_short_and_listed_on_the_first_page() -> None:
    index = (GUIDE / "README.md").read_text(encoding="utf-8")
    for name in CHAPTERS:
        assert f"]({name}.md)" in index
        assert len((GUIDE / f"{name}.md").read_text(encoding="utf-8").splitlines()) <= 110, name

"""The other pages: links lead somewhere, pictures are small, the README's example runs, and nothing of anybody's machine is told."""

from __future__ import annotations

import contextlib
import re
import sys
import types
from pathlib import Path

import pytest

from candelabra.registry import resolve

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for match in LINK.finditer(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)):
        link = (match[1] or match[2]).partition("#")[0]
        if link and "://" not in link and not link.startswith("mailto:"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_places_of_one_machine(page: Path) -> None:
    found = re.findall(r"/(?:home|root|work|tmp|Users)/\S+", page.read_text(encoding="utf-8"))
    assert not found, found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_a_page_names_is_there(page: Path) -> None:
    for name in re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_pictures_are_few_and_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert 1 <= len(pictures) <= 7
    assert all(picture.stat().st_size < 150_000 for picture in pictures)


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = examples(ROOT / "README.md")
    with contextlib.chdir(tmp_path):
        exec(compile(example, "README.md", "exec", dont_inherit=True), {"__name__": "readme"})
    assert "24h" in capsys.readouterr().out
    (run,) = (tmp_path / "runs").glob("*arms*")
    assert (run / "report.html").is_file()


def test_the_extensions_of_the_architecture_page_keep_the_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("yourpackage")
    monkeypatch.setitem(sys.modules, package.__name__, package)
    for example in examples(ROOT / "docs" / "architecture.md"):
        exec(compile(example, "architecture.md", "exec", dont_inherit=True), package.__dict__)
    for entry in (package.EFFICIENCY_ENTRY, package.WEEK_ENTRY):
        assert resolve(entry.target).name == entry.name
        assert resolve(entry.settings)


def examples(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.M | re.S)

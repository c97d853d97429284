"""Rooms import rooms to their left only, and rooms that serve load no network library: the contracts, as a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports_command as run; sys.argv[0] = 'lint-imports'; run()"
    return subprocess.run(
        [sys.executable, "-c", code, "--config", str(config), "--no-cache"], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


def test_no_room_imports_from_its_right() -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install 'candelabra[dev]'")
    done = lint(ROOT / ".importlinter")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_a_room_out_of_order_would_be_seen(tmp_path: Path) -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install 'candelabra[dev]'")
    config = tmp_path / "swapped"
    text = (ROOT / ".importlinter").read_text()
    assert "    pipeline\n    config\n" in text
    config.write_text(text.replace("    pipeline\n    config\n", "    config\n    pipeline\n"))
    done = lint(config)
    assert done.returncode != 0
    assert "candelabra.config" in done.stdout


def test_every_room_says_what_it_is_for() -> None:
    for module in (ROOT / "src" / "candelabra").rglob("*.py"):
        text = module.read_text(encoding="utf-8").lstrip()
        assert not text or text.startswith('"""'), module

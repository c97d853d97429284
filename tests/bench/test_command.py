"""The bench measures in processes of its own, compares what was computed and says what is below its reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_small_run_writes_a_line_per_tool_whose_checksums_agree(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    done = _bench("run", "main/asof", "--small", "--out", str(out))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    asof = {line["tool"]: line for line in lines if line["item"] == "main/asof"}
    assert {"candelabra", "polars join_asof", "copy"} <= set(asof)
    assert asof["candelabra"]["checksum"] == asof["polars join_asof"]["checksum"] != ""
    assert lines[0]["item"] == "peak/matmul"
    assert asof["polars join_asof"]["reach"] == ">= 3"
    assert _bench("check", str(out)).returncode == 0


def test_check_exits_with_one_and_names_what_is_below_its_reach(tmp_path: Path) -> None:
    out = tmp_path / "results.jsonl"
    line = {"item": "main/x", "tool": "ours", "value": 2.0, "unit": "ms", "ratio": 2.0, "reach": ">= 3", "ok": False, "note": ""}
    out.write_text(json.dumps(line) + "\n" + json.dumps({**line, "tool": "theirs", "value": None, "ok": None, "note": "missing: x"}) + "\n")
    done = _bench("check", str(out))
    assert done.returncode == 1
    assert "main/x ours: 2, reach >= 3" in done.stdout
    assert "theirs: missing" in done.stdout


def test_an_item_nobody_knows_is_refused_before_anything_is_measured() -> None:
    done = _bench("run", "main/nothing")
    assert done.returncode == 2
    assert "main/nothing" in done.stderr

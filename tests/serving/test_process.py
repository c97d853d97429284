"""The real process: started, asked, ended; on this machine alone, without torch."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.cli import main


@contextmanager
def served(bundle: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "candelabra", "serve", str(bundle), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()[1]
        yield process, json.loads("".join(lines))["url"]
    finally:
        process.kill()
        process.communicate()


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"content-type": "application/json"}), timeout=30) as answer:
        return json.loads(answer.read())


def test_the_process_answers_what_the_bundle_says_and_ends_cleanly(
    product: Path, predictor: Predictor, market: Candles, body: dict[str, Any]
) -> None:
    with served(product) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert asked(f"{url}/health")["status"] == "ready"
        told = asked(f"{url}/v1/forecast", body)
        told.pop("notes")
        assert told == json.loads(json.dumps(predictor.forecast(market)[0].to_dict()))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0
        assert said.startswith(f"serving {predictor.manifest.id} (ensemble) at {url}")
        assert "Traceback" not in said


def test_an_interruption_is_130(product: Path) -> None:
    with served(product) as (process, _):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in said


INSIDE = """
import json, os, signal, sys, threading, urllib.request
from candelabra.cli import main
def ask():
    for line in iter(os.fdopen(reading).readline, ""):
        if '"url"' in line:
            url = json.loads("{" + line.strip().rstrip(",") + "}")["url"]
            break  # which closes the pipe: the server must not mind
    with open(sys.argv[2], "rb") as file:
        sent = urllib.request.Request(url + "/v1/forecast", file.read(), {"content-type": "application/json"})
    status.append(urllib.request.urlopen(sent).status)
    os.kill(os.getpid(), signal.SIGTERM)
status = []
reading, writing = os.pipe()
kept = os.dup(1)
os.dup2(writing, 1)
threading.Thread(target=ask, daemon=True).start()
code = main(["serve", sys.argv[1], "--port", "0", "--json"])
sys.stdout.flush()
heavy = ("torch", "transformers", "lightgbm", "pandas", "scipy.linalg")
os.write(kept, json.dumps([code, status, [m for m in heavy if m in sys.modules]]).encode())
"""


def test_the_serving_process_has_no_torch_and_nothing_heavy(product: Path, body: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(json.dumps(body))
    done = subprocess.run(
        [sys.executable, "-c", INSIDE, str(product), str(tmp_path / "body.json")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, [200], []], done.stderr


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("0.0.0.0", "does not check who asks"),
        ("192.168.1.5", "does not check who asks"),
        ("::", "does not check"),
        ("example.com", "is not an address"),
    ],
)
def test_another_host_is_refused_with_the_reason(host: str, words: str, product: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(product), "--host", host]) == 2
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken_and_other_mistakes_are_said(product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(product), "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be had" in capsys.readouterr().err
    assert main(["serve", str(product), "--port", "70000"]) == 2
    assert main(["serve", str(product), "--body-limit", "0"]) == 2
    assert main(["serve", str(product), "--queue", "-1"]) == 2
    assert main(["serve", str(tmp_path), "--port", "0"]) == 3
    assert "is not a bundle" in capsys.readouterr().err


EXPECTED = "[checks.positive_data_acceptance]\nexpected-statuses = [200, 422]\n"
"""A body may fit the schema and still be too few candles: that is 422 by design, and every other status counts as a finding."""


@pytest.mark.slow
def test_schemathesis_finds_nothing(product: Path, tmp_path: Path, storms: bool) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed: pip install 'candelabra[dev]'")
    (tmp_path / "schemathesis.toml").write_text(EXPECTED)
    with served(product) as (_, url):
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"), "run", f"{url}/openapi.json",
             "--max-examples", "400" if storms else "25", "--seed", "1", "--workers", "1", "--no-color"],
            capture_output=True, text=True, timeout=300, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"(\d{3,}) generated, \1 passed", done.stdout), done.stdout

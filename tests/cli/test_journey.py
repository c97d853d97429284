"""The journey by its commands, each in a process of its own, and what an interruption leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from candelabra.candles.simulate import simulate
from candelabra.cli import main
from candelabra.pipeline.demo import demo

pytestmark = pytest.mark.slow

SMALL = {
    "training.threads": "1",
    "training.precision": "float32",
    "training.rehearsal": "0",
    "training.steps": "20",
    "training.evaluate_every": "10",
    "model.anchor": "har",
    "baselines": "zero,historical,har",
    "ensemble.members": "arms,har",
    "evaluation.resamples": "200",
}


def settings(**others: str) -> list[str]:
    return [word for key, value in {**SMALL, **others}.items() for word in ("--set", f"{key}={value}")]


def start(folder: Path, *words: str | Path) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CANDELABRA_")} | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "candelabra", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment)


def candelabra(folder: Path, *words: str | Path) -> tuple[int, str, str]:
    process = start(folder, *words)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


@dataclass(frozen=True)
class Trained:
    """A folder with candles, and what training on the first 3,600 hours of them gave."""

    folder: Path
    early: Path
    all: Path
    result: dict[str, Any]
    err: str

    @property
    def run(self) -> str:
        """The run folder."""
        return str(self.result["folder"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("journey")
    c = simulate("BTC/USDT", "1h", bars=4600, seed=1).candles
    rows = [[int(t), *map(float, v)] for t, *v in zip(c.open_time, *c.values(), strict=True)]
    for name, own in (("early", rows[:3600]), ("all", rows)):
        (folder / name).mkdir()
        with (folder / name / "BTCUSDT_1h.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["open_time", "open", "high", "low", "close", "volume"], *own])
    early, later = folder / "early" / "BTCUSDT_1h.csv", folder / "all" / "BTCUSDT_1h.csv"
    code, out, err = candelabra(folder, "train", early, "--size", "tiny", *settings(), "--json")
    assert code == 0, err
    return Trained(folder, early, later, json.loads(out), err)


def test_training_leaves_a_report_a_bundle_and_a_verdict(trained: Trained) -> None:
    assert {"command", "folder", "bundle", "report", "verdict", "seconds", "notes"} <= set(trained.result)
    for name in ("folder", "bundle", "report"):
        assert (trained.folder / trained.result[name]).exists()
    rows = trained.result["verdict"]
    assert {"1h", "6h", "24h"} == {row["horizon"] for row in rows}
    assert "train arms" in trained.err
    page = (trained.folder / trained.result["report"]).read_text()
    assert "candelabra train" in page


def test_a_bundle_is_shown_and_verified(trained: Trained) -> None:
    code, out, _ = candelabra(trained.folder, "bundle", "show", trained.run)
    assert code == 0
    assert "BTC/USDT" in out
    assert json.loads(candelabra(trained.folder, "bundle", "show", trained.run, "--json")[1])["model"] == "ensemble"
    assert candelabra(trained.folder, "bundle", "verify", trained.run)[0] == 0
    assert candelabra(trained.folder, "bundle", "diff", trained.run, trained.run)[0] == 0


def test_a_changed_bundle_is_found_and_not_used(trained: Trained) -> None:
    copy = trained.folder / "copy"
    shutil.copytree(trained.folder / trained.result["bundle"], copy)
    (copy / "CARD.md").write_text("trust me")
    code, out, _ = candelabra(trained.folder, "bundle", "verify", copy, "--json")
    assert code == 1
    assert json.loads(out)["findings"] == [{"file": "CARD.md", "what": "was changed after sealing"}]
    for verb in ("forecast", "evaluate"):
        code, out, err = candelabra(trained.folder, verb, copy, trained.early)
        assert (code, out) == (3, "")
        assert "CARD.md was changed" in err


def test_a_forecast_is_of_the_newest_candle_or_of_the_time_asked_for(trained: Trained) -> None:
    code, out, _ = candelabra(trained.folder, "forecast", trained.run, trained.all, "--json")
    newest = json.loads(out)["predictions"][0]
    assert code == 0
    assert newest["symbol"] == "BTC/USDT"
    assert newest["as_of_ms"] == newest["newest_ms"]
    assert all(a <= b for own in newest["quantiles"] for a, b in pairwise(own))
    past = json.loads(candelabra(trained.folder, "forecast", trained.run, trained.all, "--at", "2020-06-04T12:30", "--json")[1])
    assert past["predictions"][0]["as_of"] == "2020-06-04 12:00 UTC"
    # What came later cannot matter: the newest of the early candles, asked for among all.
    end = json.loads(candelabra(trained.folder, "forecast", trained.run, trained.early, "--json")[1])["predictions"][0]
    same = json.loads(candelabra(trained.folder, "forecast", trained.run, trained.all, "--at", end["as_of"][:-4], "--json")[1])[
        "predictions"
    ][0]
    assert same["quantiles"] == end["quantiles"]
    shown = candelabra(trained.folder, "forecast", trained.run, trained.early)[1]
    assert "BTC/USDT" in shown
    assert "24h" in shown


@pytest.mark.parametrize(("at", "part"), [("2019-01-01", "has closed by"), ("2020-01-03", "are needed")])
def test_a_forecast_without_enough_past_is_refused(trained: Trained, at: str, part: str) -> None:
    code, out, err = candelabra(trained.folder, "forecast", trained.run, trained.all, "--at", at)
    assert (code, out) == (3, "")
    assert part in err


def test_a_bundle_is_judged_on_later_candles_or_refitted(trained: Trained) -> None:
    code, out, err = candelabra(trained.folder, "evaluate", trained.run, trained.all, "--out", "later", "--json")
    assert code == 0, err
    assert {row["horizon"] for row in json.loads(out)["verdict"]} == {"1h", "6h", "24h"}
    assert (trained.folder / "later" / "report.html").is_file()
    code, out, err = candelabra(trained.folder, "evaluate", trained.run, trained.all, "--out", "walked", "--walk-forward", "--folds", "2")
    assert code == 0, err
    assert "Verdict" in out
    assert "walk forward" in err
    # It ends where it began: nothing is fitted again, and the same is found.
    again = candelabra(trained.folder, "evaluate", trained.run, trained.all, "--out", "walked", "--walk-forward", "--folds", "2")[1]
    assert again.partition("report:")[0] == out.partition("report:")[0]


def test_a_bundle_is_not_judged_on_what_it_learned_from(trained: Trained, tmp_path: Path) -> None:
    old = tmp_path / "BTCUSDT_1h.csv"
    old.write_text("".join(trained.early.read_text().splitlines(keepends=True)[:2000]))
    code, out, err = candelabra(trained.folder, "evaluate", trained.run, old)
    assert (code, out) == (3, "")
    assert "give later candles" in err


def test_a_finished_run_is_not_resumed_and_a_full_folder_not_overwritten(trained: Trained) -> None:
    code, _, err = candelabra(trained.folder, "train", "--resume", trained.run)
    assert code == 3
    assert "is finished" in err
    code, _, err = candelabra(trained.folder, "train", trained.early, "--size", "tiny", *settings(), "--out", trained.run)
    assert code == 3
    assert "is not empty" in err


def test_an_interrupted_training_says_how_to_go_on_and_goes_on(trained: Trained, tmp_path: Path) -> None:
    process = start(
        tmp_path, "train", trained.early, "--size", "tiny", *settings(**{"training.steps": "4000", "training.patience": "1000"})
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/checkpoints/arms/*/checkpoint.safetensors")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    run = next(tmp_path.glob("runs/*/config.toml")).parent
    assert f"candelabra train --resume {run.relative_to(tmp_path)}" in err
    assert not (run / "bundle").exists()
    # Other candles than it was begun with are refused.
    code, _, err = candelabra(tmp_path, "train", trained.all, "--resume", run)
    assert code == 3
    assert "other candles" in err
    # It goes on with its own settings: here shortened, so that the test ends.
    config = run / "config.toml"
    config.write_text(config.read_text().replace("steps = 4000", "steps = 30"))
    code, _, err = candelabra(tmp_path, "train", "--resume", run, "--json")
    assert code == 0, err
    assert (run / "bundle" / "bundle.json").is_file()


def test_a_forecast_says_when_its_bundle_never_saw_the_symbol_and_prints_one_number_of_decimals(trained: Trained, tmp_path: Path) -> None:
    own = candelabra(trained.folder, "forecast", trained.run, trained.early, "--json")[1]
    assert json.loads(own)["symbols_never_seen"] == []
    other = shutil.copy(trained.early, tmp_path / "ETHUSDT_1h.csv")
    assert json.loads(candelabra(trained.folder, "forecast", trained.run, other, "--json")[1])["symbols_never_seen"] == ["ETH/USDT"]
    code, out, err = candelabra(trained.folder, "forecast", trained.run, other)
    assert code == 0
    assert "never saw ETH/USDT: it learned from BTC/USDT" in err
    assert "-0.000 %" not in out
    prices = [cell for line in out.splitlines() if re.match(r"\W*\d+h ", line) for cell in re.findall(r"\d+\.\d+(?! %)\b", line)[:5]]
    assert len(prices) == 15, out
    assert len({len(price.partition(".")[2]) for price in prices}) == 1


def test_the_next_commands_of_a_demo_run_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("candelabra.pipeline.demo.demo", partial(demo, bars=15_000))
    assert main(["demo", "--size", "tiny", *settings(), "--out", "runs/a demo"]) == 0
    told = capsys.readouterr().err
    commands = [shlex.split(line)[1:] for line in told.splitlines() if line.startswith("        candelabra ")]
    assert [words[0] for words in commands] == ["forecast", "evaluate", "demo"]
    for words in commands[:2]:
        assert main(words) == 0
        shown = capsys.readouterr()
        assert "SIM/USDT (SIMULATED)" in shown.out or "all judged bars lie in the bundle's own test range" in shown.out.replace("\n", " ")


def test_a_full_disk_is_told_in_a_sentence(trained: Trained, tmp_path: Path) -> None:
    place = tmp_path / "runs"
    place.mkdir()
    place.chmod(0o500)
    if os.access(place, os.W_OK):
        # Root may write anywhere: a file where the folder should be is refused to everybody.
        place.rmdir()
        place.write_text("")
    code, out, err = candelabra(tmp_path, "train", trained.early, "--size", "tiny", *settings())
    assert (code, out) == (4, "")
    assert "runs" in err
    assert "error: " in err

"""Every verb: what it takes, what it prints where, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from candelabra.cli import run as running
from candelabra.cli.app import app
from candelabra.cli.exit_codes import EXIT_CRASH
from candelabra.config.text import from_toml
from candelabra.config.tree import Config
from candelabra.errors import BundleError, DataError, SourceError, UsageError

COMMON = {"--config", "--set", "--symbol", "--timeframe", "--json", "--quiet"}
OPTIONS = {
    "demo": COMMON | {"--candles", "--size", "--since", "--until", "--out", "--live", "--seconds"},
    "check": {"--against", "--symbol", "--timeframe", "--picture", "--json"},
    "fetch": {"--timeframe", "--since", "--until", "--store", "--funding", "--archive", "--base-url", "--json", "--quiet"},
    "repair": {"--symbol", "--timeframe", "--exchange", "--why", "--base-url", "--json", "--quiet"},
    "import": {"--into", "--exchange", "--symbol", "--timeframe", "--format", "--map", "--stamps", "--time-format", "--time-zone",
               "--dry-run", "--again", "--rejected", "--most-rejected", "--json", "--quiet"},
    "train": COMMON | {"--size", "--on-bad", "--since", "--until", "--start-from", "--labels", "--regimes-only", "--out", "--resume",
                       "--max-flips", "--max-delay"},
    "evaluate": {"--walk-forward", "--folds", "--symbol", "--timeframe", "--out", "--json", "--quiet"},
    "forecast": {"--at", "--symbol", "--timeframe", "--json", "--quiet"},
    "segment": {"--mode", "--lag", "--out", "--bars", "--picture", "--anomalies", "--symbol", "--timeframe", "--json", "--quiet"},
    "backtest": {"--candles", "--rule", "--fee-bps", "--slippage-bps", "--slippage-volatility", "--funding-bps", "--leverage", "--stop",
                 "--take", "--sweep", "--html", "--quantstats", "--symbol", "--timeframe", "--json", "--quiet"},
    "audit": {"--as", "--bars", "--candles", "--fresh", "--html", "--json", "--late", "--quiet", "--refit", "--seed", "--symbol",
              "--timeframe", "--warm-up"},
    "live": {"--exchange", "--symbols", "--symbol", "--once", "--schedule", "--since", "--store", "--journal", "--paper",
             "--retrain", "--unseen", "--replay", "--export", "--base-url", "--json", "--quiet"},
    "serve": {"--host", "--port", "--body-limit", "--queue", "--json"},
    "doctor": {"--data", "--json"},
    "features list": {"--json"},
    "features explain": {"--timeframe", "--json"},
    "features table": COMMON | {"--horizon", "--target", "--of", "--threshold", "--picture"},
    "label check": {"--candles", "--symbol", "--timeframe", "--labels", "--form", "--time-zone", "--opposite", "--shares",
                    "--out", "--json"},
    "label make": {"--method", "--timeframe", "--set", "--symbol", "--out", "--json", "--quiet"},
    "label methods": {"--json"},
    "label suggest": {"--out", "--timeframe", "--labels", "--count", "--json", "--quiet"},
    "bundle show": {"--json"},
    "bundle verify": {"--json"},
    "bundle diff": {"--json"},
    "config show": {"--config", "--set", "--size", "--json"},
    "config schema": {"--json"},
    "config init": {"--force", "--json"},
    "store list": {"--exchange", "--symbol", "--timeframe", "--json"},
    "store verify": {"--exchange", "--symbol", "--timeframe", "--json"},
    "store repair": {"--exchange", "--symbol", "--timeframe", "--json"},
    "store compact": {"--exchange", "--symbol", "--timeframe", "--json"},
    "store export": {"--exchange", "--since", "--until", "--json"},
    "store gaps": {"--exchange", "--since", "--until", "--json"},
    "store revisions": {"--exchange", "--json"},
}  # fmt: skip


def verbs(command: Any, above: str = "") -> dict[str, set[str]]:
    """Options by verb, as the parser has them."""
    found: dict[str, set[str]] = {}
    for name, own in command.commands.items():
        if hasattr(own, "commands"):
            found |= verbs(own, f"{above}{name} ")
        else:
            found[f"{above}{name}"] = {o for p in own.params for o in p.opts if o.startswith("--")} - {"--help"}
    return found


def test_the_verbs_and_their_options_are_these() -> None:
    assert verbs(typer.main.get_command(app)) == OPTIONS


def test_every_verb_explains_itself(run: Callable[..., Any]) -> None:
    for verb, options in OPTIONS.items():
        ran = run(*verb.split(), "--help")
        assert ran.code == 0
        assert ran.err == ""
        for option in options:
            assert option in ran.out


def test_the_version_is_told(run: Callable[..., Any]) -> None:
    import candelabra

    assert run("--version").out == f"candelabra {candelabra.__version__}\n"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["chek"], "check"),
        (["train", "--tinny"], "--tinny"),
        (["check", "--timefram", "1h", "x"], "--timeframe"),
        (["check"], "PATHS"),
        (["features", "lst"], "list"),
        (["config", "shwo"], "show"),
        (["forecast"], "BUNDLE"),
        (["features", "table", "--threshold", "high"], "--threshold"),
    ],
)
def test_a_word_that_is_no_command_or_option_is_answered_on_one_line(run: Callable[..., Any], words: list[str], part: str) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert part in ran.err
    assert "--help" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_no_verb_at_all_shows_the_help(run: Callable[..., Any]) -> None:
    ran = run()
    assert ran.code == 2
    assert "forecast" in ran.out


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (UsageError("choose another"), 2, "error: choose another"),
        (DataError("row 3"), 3, "error: row 3"),
        (BundleError("changed"), 3, "error: changed"),
        (SourceError("no network"), 4, "error: no network"),
        (OSError(28, "No space left on device", "runs/x"), 4, "runs/x: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_becomes_a_message_and_a_code(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, part: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("candelabra.features.catalog.describe", fail)
    ran = run("features", "list")
    assert (ran.code, ran.out) == (code, "")
    assert part in ran.err


def test_a_defect_of_ours_is_kept_in_a_file_and_not_thrown_at_the_user(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("unlucky")

    monkeypatch.setattr("candelabra.features.catalog.describe", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ran = run("features", "list")
    assert ran.code == EXIT_CRASH
    assert "ZeroDivisionError: unlucky" in ran.err
    kept = next(tmp_path.glob("candelabra-error-*.txt"))
    assert str(kept) in ran.err
    assert "Traceback" in kept.read_text()
    with pytest.raises(ZeroDivisionError):
        running.run(["features", "list", "--debug"])
    monkeypatch.setenv("CANDELABRA_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        running.run(["features", "list"])


# config


def test_the_settings_in_force_are_shown_and_read_back(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "candelabra.toml").write_text("[training]\nsteps = 7\n")
    ran = run("config", "show", "--set", "seed=3", "--size", "tiny")
    assert ran.code == 0
    tree = from_toml(ran.out)
    assert (tree.seed, tree.size, tree.training.steps) == (3, "tiny", 7)
    told = run("config", "show", "--set", "seed=3", "--json").json
    assert told["config"]["seed"] == 3
    assert len(told["hash"]) == 10


def test_bad_settings_are_refused_by_every_verb_that_reads_them(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "candelabra.toml").write_text("[training]\nstepz = 7\n")
    for verb in (["config", "show"], ["train", "x.csv"], ["demo"], ["features", "table", "x.csv"]):
        ran = run(*verb)
        assert (ran.code, ran.out) == (2, "")
        assert 'training.stepz (candelabra.toml, line 2): did you mean "training.steps"' in ran.err


def test_a_config_file_is_written_once(run: Callable[..., Any], tmp_path: Path) -> None:
    ran = run("config", "init")
    assert (ran.code, ran.out) == (0, "candelabra.toml\n")
    file = tmp_path / "candelabra.toml"
    assert from_toml(file.read_text()) == Config()
    file.write_text("seed = 5\n")
    again = run("config", "init")
    assert again.code == 2
    assert "--force" in again.err
    assert file.read_text() == "seed = 5\n"
    assert run("config", "init", "--force", "--json").json["path"] == "candelabra.toml"
    assert from_toml(file.read_text()) == Config()
    assert run("config", "init", "no/such/place.toml").code == 2


def test_the_schema_is_json(run: Callable[..., Any]) -> None:
    assert run("config", "schema").json["title"] == "candelabra.toml"


# features


def test_features_are_listed_and_explained(run: Callable[..., Any]) -> None:
    listed = run("features", "list", "--json").json["features"]
    assert {"rsi(14)", "macd(12,26,9)"} <= {f["name"] for f in listed}
    assert all(isinstance(f["warm_up"], int) and f["formula"] for f in listed)
    assert "rsi(14)" in run("features", "list").out
    told = run("features", "explain", "macd(12,26,9)", "--json").json
    assert told["channels"] == ["macd(12,26,9).line", "macd(12,26,9).signal", "macd(12,26,9).histogram"]
    assert told["parameters"] == {"fast": 12, "slow": 26, "signal": 9}
    assert "lag(return(1),3)" in run("features", "explain", "lag(return(1),3)").out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["retrun(24)"], 'did you mean "return"'),
        (["rsi(x)"], "whole number of bars"),
        (["rsi(14"], "parenthesis"),
        (["rsi(14)", "--timeframe", "1hour"], "is not a timeframe"),
        (["talib.SAR"], "SAR"),
    ],
)
def test_a_feature_that_cannot_be_is_refused(run: Callable[..., Any], words: list[str], part: str) -> None:
    ran = run("features", "explain", *words)
    assert (ran.code, ran.out) == (2, "")
    assert part in ran.err


def test_features_are_compared_on_the_train_range(run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    file = write()
    told = run("features", "table", file, "--json", "--picture", tmp_path / "p.html")
    assert told.code == 0
    table = told.json
    assert table["rows"] < 0.6 * 3000
    assert sorted(n for c in table["clusters"] for n in c) == sorted(table["names"])
    assert len(table["information"]) == len(table["names"])
    page = (tmp_path / "p.html").read_text()
    assert "plotly" in page
    assert 'src="http' not in page
    # Nothing after the train range can move the table.
    changed = write(lambda rows: rows[:2000] + [[r[0], *(2.5 * v for v in r[1:])] for r in rows[2000:]], name="changed_BTCUSDT_1h.csv")
    assert run("features", "table", changed, "--json", "-q").json["information"] == table["information"]


def test_the_table_shows_another_timeframe_target_and_horizon(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    file = write()
    told = run("features", "table", file, "--of", "4h", "--target", "return", "--horizon", "6h", "--json", "-q").json
    assert (told["timeframe"], told["target"], told["horizon"]) == ("4h", "return", "6h")
    none = run("features", "table", file, "--target", "none", "--json", "-q").json
    assert none["information"] is None
    assert "cluster" in run("features", "table", file, "-q").out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--target", "profit"], "volatility, return or none"),
        (["--horizon", "7h"], "1h, 6h, 24h"),
        (["--of", "1w"], "4h"),
        (["--picture", "p.png"], ".html"),
        (["--picture", "no/such/p.html"], "folder that exists"),
        (["--threshold", "7"], "threshold"),
        (["--set", "features.base=rsi(14),rsi(14)"], "listed twice"),
    ],
)
def test_a_table_that_cannot_be_is_refused(run: Callable[..., Any], write: Callable[..., Path], words: list[str], part: str) -> None:
    ran = run("features", "table", "-q", write(), *words)
    assert (ran.code, ran.out) == (2, "")
    assert part in ran.err


# bundle, forecast, evaluate: what is no bundle


@pytest.mark.parametrize("verb", [["bundle", "show"], ["bundle", "verify"], ["forecast"], ["evaluate"], ["bundle", "diff"]], ids=" ".join)
def test_what_is_no_bundle_is_refused(run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, verb: list[str]) -> None:
    more = [write()] if verb in (["forecast"], ["evaluate"]) else [tmp_path] if verb[-1] == "diff" else []
    for place in (tmp_path, tmp_path / "absent"):
        ran = run(*verb, place, *more)
        assert (ran.code, ran.out) == (3, "")
        assert "is not a bundle" in ran.err
    (tmp_path / "bundle.json").write_text("{")
    ran = run(*verb, tmp_path, *more)
    assert ran.code == 3
    assert "damaged" in ran.err


def test_a_time_that_is_none_is_refused(run: Callable[..., Any], tmp_path: Path) -> None:
    ran = run("forecast", tmp_path, "x.csv", "--at", "yesterday")
    assert ran.code == 2
    assert "2023-06-01T12:00" in ran.err


# train


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--resume", "nowhere"], "no config.toml"),
        (["--resume", "nowhere", "--size", "tiny"], "give it alone"),
        (["x.csv", "--size", "huge"], "tiny, small, base"),
        (["x.csv", "--on-bad", "ignore"], "refuse, drop"),
        (["x.csv", "--config", "absent.toml"], "no config file absent.toml"),
    ],
)
def test_a_training_that_cannot_be_is_refused(run: Callable[..., Any], words: list[str], part: str) -> None:
    ran = run("train", *words)
    assert (ran.code, ran.out) == (2, "")
    assert part in ran.err


def test_files_for_the_demo_go_behind_candles(run: Callable[..., Any]) -> None:
    ran = run("demo", "x.csv")
    assert ran.code == 2
    assert "--candles x.csv" in ran.err


# doctor


def test_the_doctor_looks_at_everything(run: Callable[..., Any], tmp_path: Path, write: Callable[..., Path]) -> None:
    write()
    ran = run("doctor", "--json", "--data", tmp_path)
    assert ran.code == 0
    lines = {line["what"]: line for line in ran.json["lines"]}
    assert {"Python", "libraries", "cores", "precision", "C++ compiler", "disk", "telemetry", "data"} <= set(lines)
    assert lines["data"]["found"].startswith("1 candle files")
    shown = run("doctor", "--data", tmp_path / "absent")
    assert shown.code == 1
    assert "name one that exists" in shown.out
    assert "1 thing is wrong" in shown.out


def test_what_the_doctor_finds_wrong_comes_with_what_to_do(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from collections import namedtuple

    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(10, 9, 1))

    def ill(_: str) -> None:
        raise RuntimeError("probe broke")

    monkeypatch.setattr("candelabra.training.precision.choose_precision", ill)
    ran = run("doctor", "--json")
    assert ran.code == 1
    wrong = {line["what"]: line for line in ran.json["lines"] if line["state"] == "wrong"}
    assert set(wrong) == {"disk", "precision"}
    assert all(line["do"] for line in wrong.values())
    assert "probe broke" in wrong["precision"]["found"]


# in a process of its own


def test_a_process_keeps_results_and_notes_apart_and_colours_out_of_files(write: Callable[..., Path], tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CANDELABRA_")}
    command = [sys.executable, "-m", "candelabra"]

    def start(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60, check=False)

    checked = start("check", str(write()), "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["verdict"] == "usable"
    shown = start("check", "BTCUSDT_1h.csv")
    assert "\x1b[" not in shown.stdout + shown.stderr
    refused = start("check", "absent.csv")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("words", ["--version", "features list --json"], ids=["short", "long"])
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path, words: str) -> None:
    command = ["bash", "-c", f"set -o pipefail; {sys.executable} -m candelabra {words} | true"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stderr == ""

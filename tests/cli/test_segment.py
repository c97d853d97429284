"""`segment`, and `train` on a learning set: what a user types, what is printed and written, what is refused."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from candelabra.bundles.format import seal
from candelabra.bundles.predictor import Predictor
from candelabra.bundles.watching import Watch, fit_watch, save_watches
from candelabra.candles import REGIMES, Candles
from candelabra.candles.regime_markets import regime_market
from candelabra.candles.resample import resample
from candelabra.cli import main
from candelabra.errors import DataError
from candelabra.evaluation.certificate import CERTIFICATE_FILE, Certificate
from candelabra.models import segmenter as segmenter_module
from candelabra.models.regime_tcn import TcnSettings
from candelabra.pipeline.audit_regimes import audit_regime_bundle
from candelabra.pipeline.regimes import RegimeRun, RegimeRunSettings, train_regimes
from candelabra.regimes.anomaly_forecasts import BarForecasts
from candelabra.regimes.learning_files import read_learning_set
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.segmentation import Segmentation
from candelabra.sources.files import write_candles
from candelabra.training.settings import TrainingSettings

MARKET = regime_market(5_000, 5)
CANDLES = MARKET.candles
FAST = TrainingSettings(
    sequence_length=256, batch_size=4, steps=4, learning_rate=5e-3, warmup_steps=1, evaluate_every=2, rehearsal=0.0,
    precision="float32", threads=1,
)  # fmt: skip


def learning_set() -> LearningSet:
    code = MARKET.regime.astype(np.int16)
    four = resample(CANDLES, "4h")
    return LearningSet.of([Segmentation.of_bars(CANDLES, REGIMES, code), Segmentation.of_bars(four, REGIMES, code[3::4][: len(four)])])


def _shocked() -> Candles:
    """The market with one wick far below everything around it."""
    columns = [v.copy() for v in CANDLES.values()]
    columns[2][-5] *= 0.7
    return Candles.of(CANDLES.symbol, "1h", CANDLES.open_time, *columns, simulated=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regimes")
    write_candles(CANDLES, folder / "SIM5USDT_1h.parquet")
    learning_set().write(folder / "labels.csv")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> RegimeRun:
    settings = RegimeRunSettings(network=TcnSettings(width=8, layers=3), training=FAST)
    return train_regimes([CANDLES], learning_set(), settings, folder=place / "run")


def test_a_run_judges_every_timeframe_beside_its_rivals(run: RegimeRun) -> None:
    assert set(run.verdicts) == {"filtered", "smoothed"}
    for mode, told in run.verdicts.items():
        assert [one.timeframe for one in told] == ["1h", "4h"]
        for verdict in told:
            methods = [row.method for row in verdict.rows]
            assert methods[0] == "candelabra"
            assert {"majority", "trailing rule", "LightGBM"} <= set(methods)
            assert verdict.rows[0].causal == (mode == "filtered")
            assert any("too few" in note for note in verdict.notes)
            changed, looked = verdict.revised
            assert looked == 24
            if mode == "filtered":
                assert (changed, verdict.rows[0].mean("revisions")) == (0, 0)
            assert verdict.as_dict()["revised"] == {"labels": changed, "of": looked}
    assert run.openings == 1
    saved = json.loads((run.folder / "verdict.json").read_text())
    assert saved["filtered"][0]["rows"][0]["method"] == "candelabra"


def test_a_run_is_certified_before_it_is_sealed_and_audited_again(
    run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate.load(run.bundle)
    assert certificate == run.certificate
    assert certificate.passed, [f.words for f in certificate.findings]
    subjects = [one.subject for one in certificate.audits]
    assert subjects[:3] == ["filtered regimes", "regimes candle by candle", "statechart"]
    assert {"regime network 0", "smoothed regimes", "everything learned (tiny refit)"} <= set(subjects)
    assert all(one.tried for one in certificate.audits), [one.notes for one in certificate.audits]
    assert CERTIFICATE_FILE in json.loads((run.bundle / "bundle.json").read_text())["files"]
    few = CANDLES.rows(slice(4_400, None))
    (place / "few").mkdir()
    write_candles(few, place / "few" / "SIM5USDT_1h.parquet")
    assert main(["audit", str(run.folder), "--candles", str(place / "few" / "SIM5USDT_1h.parquet"), "--quiet", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["audits"]
    assert [one["subject"] for one in again] == subjects
    assert "the labels are not in the bundle" in again[-1]["notes"][0]
    plain = segmenter_module.chances

    def ahead(*given: Any) -> NDArray[np.float64]:
        p = plain(*given)
        return p[np.minimum(np.arange(len(p)) + 2, len(p) - 1)]

    monkeypatch.setattr(segmenter_module, "chances", ahead)
    found = audit_regime_bundle(run.bundle, [few])
    assert ("future", 2) in {(f.law, f.bars) for f in found.audits[0].findings}
    assert all(f.column.startswith("chances ") for f in found.audits[0].findings)
    assert [f.law for f in found.audits[1].findings][:1] == ["stream"]
    with pytest.raises(DataError, match="read from 1h candles or finer ones"):
        audit_regime_bundle(run.bundle, [resample(few, "4h")])


def test_the_bundle_says_which_regimes_hold_and_writes_them(run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segments, bars = place / "out.csv", place / "bars.parquet"
    args = [
        "segment",
        str(run.folder),
        str(place / "SIM5USDT_1h.parquet"),
        "--out",
        str(segments),
        "--bars",
        str(bars),
        "--picture",
        str(place / "p.html"),
        "--json",
    ]
    assert main(args) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["timeframe"] for row in told["newest"]] == ["1h", "4h"]
    assert all(row["label"] in REGIMES and row["age"] >= 1 for row in told["newest"])
    back = read_learning_set(segments)
    assert {frame.name for _, frame in back.markets} == {"1h", "4h"}
    table = pq.read_table(bars)
    assert table.num_rows == len(CANDLES) + len(resample(CANDLES, "4h"))
    (newest,) = back.annotators("SIM5/USDT", "1h").values()
    assert told["across"]["SIM5/USDT"].startswith("1h ")
    assert newest.names[-1] == told["newest"][0]["label"]
    assert "<html" in (place / "p.html").read_text()[:200]
    assert main(args[:-1]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("filtered regimes", "since", "further"))


def test_too_short_a_history_is_said(run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from candelabra.bundles.segmenting import open_segmenter

    needs = max(open_segmenter(run.bundle, mode)[1].needs for mode in ("filtered", "smoothed"))
    assert run.manifest.needs == {"1h": needs}
    short = place / "short"
    short.mkdir()
    write_candles(CANDLES.rows(slice(0, 3)), short / "SIM5USDT_1h.parquet")  # no 4h bar has closed
    assert main(["segment", str(run.folder), str(short / "SIM5USDT_1h.parquet"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["bars"], one["too_little"]) for one in told["history"]] == [(3, 3)]
    assert [row["as_of_ms"] is None for row in told["newest"]] == [False, True]
    assert main(["segment", str(run.folder), str(short / "SIM5USDT_1h.parquet")]) == 0
    assert "all of them were said with too little history" in capsys.readouterr().err


def test_anomalies_are_listed_with_reasons_and_a_stated_rate(run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = _shocked()
    (place / "shock").mkdir()
    write_candles(planted, place / "shock" / "SIM5USDT_1h.parquet")
    args = ["segment", str(run.folder), str(place / "shock" / "SIM5USDT_1h.parquet"), "--anomalies"]
    assert main([*args, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["anomalies"]
    hit = [one for one in told if one["timeframe"] == "1h" and one["open_ms"] == int(planted.open_time[-5])]
    assert hit
    assert "2020" in hit[0]["reason"]
    assert len(told) < 0.02 * len(CANDLES)
    assert main(args) == 0
    said = capsys.readouterr()
    assert "out of the ordinary" in said.out
    assert "false alarms per 1,000 clean bars" in said.err


def test_alarms_are_marked_on_the_picture_by_the_bundles_own_forecasts_where_they_were_set_with_them(
    run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = BarForecasts.of(np.tile(0.01 * np.array([-1.6, -0.6, 0.0, 0.6, 1.6]), (len(CANDLES), 1)), (0.05, 0.25, 0.5, 0.75, 0.95))
    values = {k: v for k, v in asdict(run.manifest).items() if k not in ("id", "files", "format")} | {"horizons": ("1h",)}
    draft, both = place / "draft", place / "both"
    shutil.copytree(run.bundle, draft)
    (draft / "bundle.json").unlink()
    watch = fit_watch(CANDLES, run.manifest.ranges["train"][1], run.manifest.ranges["calibration"], 4, forecasts=heard)
    assert isinstance(watch, Watch)
    save_watches([watch], draft)
    seal(draft, both, values)
    opened = []
    monkeypatch.setattr(Predictor, "open", lambda bundle: opened.append(bundle) or "predictor")
    monkeypatch.setattr("candelabra.bundles.bar_forecasts.forecasts_of", lambda predictor, own, given: heard)
    picture = place / "odd.html"
    assert main(["segment", str(both), str(place / "SIM5USDT_1h.parquet"), "--anomalies", "--picture", str(picture)]) == 0
    said = capsys.readouterr()
    assert opened == [both]
    assert "judged by the bundle's own forecasts" in said.err.replace("\n", " ")
    expected = watch.alarms(CANDLES, forecasts=heard)
    assert expected
    assert expected[-1].reason.partition(": ")[2].split(", ")[0] in picture.read_text()
    assert "out of the ordinary" in picture.read_text()
    assert main(["segment", str(both), str(place / "SIM5USDT_1h.parquet"), "--picture", str(picture)]) == 0
    assert "out of the ordinary" not in picture.read_text()  # nobody asked


def test_with_a_lag_a_bar_is_told_later_and_never_told_again(run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, table = str(place / "SIM5USDT_1h.parquet"), place / "late.parquet"
    args = ["segment", str(run.folder), file, "--lag", "30"]
    assert main([*args, "--bars", str(table), "--picture", str(place / "late.html"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lag"] == 30
    for row, own in zip(told["newest"], (CANDLES, resample(CANDLES, "4h")), strict=True):
        assert row["as_of_ms"] == int(own.close_time[-31])
        assert row["known_at_ms"] == int(own.close_time[-1])
    late = pq.read_table(table).to_pandas()
    assert set(late["lag"]) == {30}
    assert late.groupby("timeframe")["status"].apply(lambda s: (s == "provisional").sum()).to_dict() == {"1h": 30, "4h": 30}
    hours = late[late["timeframe"] == "1h"]
    known = hours["known_at"].dt.tz_convert(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    np.testing.assert_array_equal(known[:-30], CANDLES.close_time[30:])
    assert "bars late" in (place / "late.html").read_text()
    before = place / "before"
    before.mkdir()
    write_candles(CANDLES.rows(slice(0, 4_000)), before / "SIM5USDT_1h.parquet")
    assert main(["segment", str(run.folder), str(before / "SIM5USDT_1h.parquet"), "--lag", "30", "--bars", str(before / "b.parquet")]) == 0
    said = capsys.readouterr()
    assert "30 bars late" in said.out
    assert "known 30 bars after its close" in said.err
    early = pq.read_table(before / "b.parquet").to_pandas()
    early = early[(early["timeframe"] == "1h") & (early["status"] == "confirmed")]
    again = hours.iloc[: len(early)]
    assert early["label"].tolist() == again["label"].tolist()
    chances = [name for name in early if name.startswith("p_")]
    np.testing.assert_allclose(early[chances], again[chances], atol=1e-5)


def test_smoothed_regimes_are_said_to_be_hindsight(run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", str(run.bundle), str(place / "SIM5USDT_1h.parquet"), "--mode", "smoothed"]) == 0
    assert "never for trading" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["segment", "{run}", "{candles}", "--mode", "best"], 2, "filtered or smoothed"),
        (["segment", "{run}", "{candles}", "--lag", "0"], 2, "1 or more"),
        (["segment", "{run}", "{candles}", "--lag", "5", "--mode", "smoothed"], 2, "for filtered regimes"),
        (["forecast", "{run}", "{candles}"], 3, "holds regimes and no forecast"),
        (["train", "{candles}", "--regimes-only"], 2, "give --labels FILE as well"),
        (["train", "{candles}", "--labels", "{labels}", "--regimes-only", "--set", "training.steps=3"], 2, "as in regimes.training.steps"),
        (
            ["train", "{candles}", "--labels", "{labels}", "--regimes-only", "--set", "regimes.training.stepz=3"],
            2,
            "regimes.training.steps",
        ),
        (["train", "{candles}", "--labels", "{labels}", "--regimes-only", "--start-from", "{run}"], 2, "random weights"),
        (["train", "{candles}", "--labels", "{labels}", "--regimes-only", "--max-flips", "0"], 2, "flips above 0"),
        (["train", "{candles}", "--labels", "{labels}", "--regimes-only", "--since", "2031-01-01"], 3, "no bar between the dates"),
        (["train", "{candles}", "--max-delay", "9"], 2, "give their labels too"),
        (["train", "{candles}", "--resume", "{run}", "--max-delay", "9"], 2, "give it alone"),
        (["train", "{candles}", "--resume", "{run}"], 2, "give them too, as in --labels"),
        (["train", "{candles}", "--resume", "{run}", "--labels", "{labels}"], 3, "already holds a sealed bundle"),
        (["train", "{candles}", "--resume", "{forecasts}", "--labels", "{labels}"], 2, "begun without labels"),
        (["segment", "{run}", "{candles}", "--bars", "x.txt"], 2, "CSV, Parquet"),
        (["train", "{candles}", "--labels", "{candles}", "--regimes-only"], 3, "error"),
    ],
)
def test_what_cannot_be_is_said(
    args: list[str], code: int, words: str, run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "forecasts").mkdir(exist_ok=True)
    (place / "forecasts" / "config.toml").write_text("seed = 1\n")
    names = {"run": run.folder, "forecasts": place / "forecasts", "candles": place / "SIM5USDT_1h.parquet", "labels": place / "labels.csv"}
    assert main([arg.format(**names) for arg in args]) == code
    assert words in capsys.readouterr().err


def test_what_is_worth_a_label_is_written_to_be_edited_and_handed_back(
    run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = place / "ask.csv"
    args = ["label", "suggest", str(run.folder), str(place / "SIM5USDT_1h.parquet"), "--out", str(table), "--count", "6"]
    assert main([*args, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["stretches"]
    assert 1 <= len([one for one in told if one["timeframe"] == "1h"]) <= 6
    assert [one["score"] for one in told] == sorted((one["score"] for one in told), reverse=True)
    assert len(read_learning_set(table)) == len(told)
    assert main([*args, "--timeframe", "4h"]) == 0
    assert "hand it back" in capsys.readouterr().out.replace("\n", " ")
    assert main([*args, "--labels", str(place / "labels.csv")]) == 0
    assert "nothing is worth a label" in capsys.readouterr().out
    assert main([*args, "--timeframe", "3h"]) == 2


def test_a_folder_begun_with_other_labels_is_not_gone_on_with(run: RegimeRun, place: Path) -> None:
    settings = RegimeRunSettings(network=TcnSettings(width=8, layers=3), training=FAST, modes=("filtered",))
    copied = place / "interrupted"
    copied.mkdir()
    (copied / "begun.json").write_bytes((run.folder / "begun.json").read_bytes())
    with pytest.raises(DataError, match="begun with other settings and labels"):
        train_regimes([CANDLES], learning_set().select(timeframes=["1h"]), settings, folder=copied)


def test_a_bundle_that_was_changed_is_refused(run: RegimeRun, place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(run.bundle, tmp_path / "bundle")
    part = tmp_path / "bundle" / "parts" / "regimes-filtered" / "regimes.json"
    part.write_text(part.read_text().replace('"filtered"', '"smoothed"'))
    assert main(["segment", str(tmp_path / "bundle"), str(place / "SIM5USDT_1h.parquet")]) == 3
    assert "not as it was sealed" in capsys.readouterr().err


QUICK = (
    "width=8", "layers=3", "training.sequence_length=256", "training.batch_size=4", "training.steps=6", "training.warmup_steps=1",
    "training.evaluate_every=2",
)  # fmt: skip


def quick() -> list[str]:
    keys = [one if one.startswith("training") else f"network.{one}" for one in QUICK]
    return [word for key in keys for word in ("--set", f"regimes.{key}")]


def test_an_interrupted_run_goes_on_to_the_same_weights_with_the_settings_it_has(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    learning_set().select(timeframes=["1h"]).write("hours.csv")
    given = ["train", "SIM5USDT_1h.parquet", "--labels", "hours.csv", "--regimes-only", "--quiet", *quick()]
    given += ["--set", "regimes.modes=filtered", "--max-flips", "40", "--max-delay", "300", "--set", "windows.shares=.5,.2,.1,.2"]
    assert main([*given, "--out", "whole"]) == 0
    capsys.readouterr()

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stop:
        stop.setattr("candelabra.pipeline.regimes.log_opening", stopped)  # all steps done, nothing judged
        assert main(given) == 130
    said = capsys.readouterr().err
    (half,) = Path("runs").iterdir()
    assert f"candelabra train --resume {half}" in said
    assert not (half / "bundle").exists()
    state = half / "checkpoints" / "filtered" / "seed-0" / "checkpoint.safetensors"
    steps = state.stat().st_mtime_ns
    assert main(["train", "--resume", str(half), "--quiet"]) == 0
    assert state.stat().st_mtime_ns == steps  # trained on from there, not anew
    part = Path("bundle/parts/regimes-filtered")
    for name in ("network-0.safetensors", "regimes.json"):
        assert (half / part / name).read_bytes() == (Path("whole") / part / name).read_bytes()
    assert main(["train", "--resume", str(half), "--quiet"]) == 3  # it is done
    settings = tomllib.loads((half / "config.toml").read_text())
    assert settings["regimes"]["bounds"] == {"flips": 40.0, "delay": 300.0, "margin": 0.9}
    sealed = tomllib.loads((half / "bundle" / "config.toml").read_text())
    assert sealed["regimes"]["training"]["steps"] == 6
    assert (sealed["candles"]["paths"], sealed["regimes"]["labels"]) == ([], "")


def test_the_dates_asked_for_cut_what_is_learned_from(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "dates"
    given = ["train", str(place / "SIM5USDT_1h.parquet"), "--labels", str(place / "labels.csv"), "--regimes-only", "--quiet", *quick()]
    given += ["--set", "regimes.modes=filtered", "--set", "windows.shares=.4,.4,.1,.1", "--until", "2020-06-20"]
    assert main([*given, "--out", str(folder), "--json"]) == 0
    facts = json.loads((folder / "bundle" / "bundle.json").read_text())["data"]["SIM5/USDT"]
    assert facts["to"].startswith("2020-06-20")
    assert facts["from"].startswith("2020-01-01")


@pytest.mark.slow
def test_the_command_trains_on_a_learning_set(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = place / "small.csv"
    first = learning_set()
    first.select(timeframes=["1h"]).write(small)
    args = ["train", str(place / "SIM5USDT_1h.parquet"), "--labels", str(small), "--regimes-only", "--out", str(place / "typed"), "--quiet"]
    for key, value in {"network.width": 8, "network.layers": 3, "training.steps": 20, "training.evaluate_every": 20}.items():
        args += ["--set", f"regimes.{key}={value}"]
    assert main(args) == 0
    said = capsys.readouterr().out
    assert "trailing rule" in said
    assert "candelabra segment" in said
    assert main(args) == 3
    assert "already holds a sealed bundle" in capsys.readouterr().err

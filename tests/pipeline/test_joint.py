"""Forecast and regimes in one run: what it writes, that its sealed bundle says what was judged, and what it refuses."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.bundles.bar_forecasts import forecasts_of
from candelabra.bundles.format import read_manifest
from candelabra.bundles.predictor import Predictor
from candelabra.bundles.segmenting import asked, regime_modes
from candelabra.bundles.stream import OnnxStream
from candelabra.bundles.watching import Watch, fit_watch, load_watches
from candelabra.candles import REGIMES, Candles
from candelabra.candles.regime_markets import regime_market
from candelabra.candles.resample import resample
from candelabra.cli import main as cli
from candelabra.config.build import configure
from candelabra.config.text import to_toml
from candelabra.config.tree import Config, EnsembleSection, FeaturesSection, ModelSection, TimeframesSection, WindowsSection
from candelabra.errors import DataError, UsageError
from candelabra.evaluation.certificate import Certificate
from candelabra.live.feed import spanning
from candelabra.live.follow import Follower
from candelabra.models.regime_memory import SAME
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.segmenter import Segmenter, TimeframeReader
from candelabra.models.settings import ArmsSettings
from candelabra.pipeline.joint import check_regimes
from candelabra.pipeline.train import TrainResult, train
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.segmentation import Segmentation
from candelabra.sources.files import write_candles
from candelabra.training.regime_settings import RegimeSettings, regime_training
from candelabra.training.settings import TrainingSettings
from candelabra.windows.recipe import Recipe

MARKET = regime_market(5_000, 5)
LOOP = TrainingSettings(
    sequence_length=64, batch_size=4, steps=6, evaluate_every=3, warmup_steps=2, rehearsal=0.0, precision="float32", threads=1
)
CONFIG = Config(
    seed=3,
    timeframes=TimeframesSection(base="1h", coarse=("4h",)),
    features=FeaturesSection(base=("return(1)", "log_rv(6)", "range"), coarse=("return(1)", "range")),
    windows=WindowsSection(horizons=("1h", "6h")),
    model=ModelSection("arms", ArmsSettings(
        width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
        anchor="ewma",
    )),
    training=LOOP,
    ensemble=EnsembleSection(members=("arms", "ewma")),
    baselines=("zero", "ewma"),
    regimes=RegimeSettings(
        network=TcnSettings(width=8, layers=3),
        training=replace(regime_training(128), batch_size=4, steps=6, evaluate_every=3, warmup_steps=2),
    ),
)  # fmt: skip
CONFIG = replace(CONFIG, evaluation=replace(CONFIG.evaluation, resamples=100))


def labels(symbol: str = MARKET.candles.symbol) -> LearningSet:
    code = MARKET.regime.astype(np.int16)
    candles = Candles.of(symbol, "1h", MARKET.candles.open_time, *MARKET.candles.values())
    four = resample(candles, "4h")
    return LearningSet.of([Segmentation.of_bars(candles, REGIMES, code), Segmentation.of_bars(four, REGIMES, code[3::4][: len(four)])])


@dataclass
class Ran:
    """One run by the command line: its result and what was printed."""

    result: TrainResult
    out: str
    err: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("joint")
    write_candles(MARKET.candles, folder / "SIM5USDT_1h.parquet")
    labels().write(folder / "labels.csv")
    (folder / "candelabra.toml").write_text(to_toml(CONFIG), encoding="utf-8")
    kept: list[TrainResult] = []

    def keep(*given: Any, **named: Any) -> TrainResult:
        kept.append(train(*given, **named))
        return kept[-1]

    told, said = io.StringIO(), io.StringIO()
    words = ["train", str(folder / "SIM5USDT_1h.parquet"), "--labels", str(folder / "labels.csv"), "--out", str(folder / "run"), "--quiet"]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told), redirect_stderr(said):
        patch.setattr("candelabra.pipeline.train.train", keep)
        assert cli([*words, "--config", str(folder / "candelabra.toml")]) == 0
    return Ran(kept[0], told.getvalue(), said.getvalue())


@pytest.fixture(scope="module")
def result(ran: Ran) -> TrainResult:
    return ran.result


@pytest.mark.slow
def test_the_command_tells_both_and_what_comes_next(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert "1h filtered:" in ran.out
    assert "4h smoothed:" in ran.out
    assert "candelabra segment" in ran.err
    candles = str(ran.result.folder.parent / "SIM5USDT_1h.parquet")
    assert cli(["segment", str(ran.result.folder), candles, "--quiet"]) == 0
    assert "filtered regimes" in capsys.readouterr().out


@pytest.mark.slow
def test_one_run_gives_one_bundle_that_forecasts_and_segments(result: TrainResult) -> None:
    assert not [n for n in result.notes if "CHECK FAILED" in n]
    assert regime_modes(result.bundle) == ("filtered", "smoothed")
    figures = json.loads((result.bundle / "regimes-metrics.json").read_text())
    assert [one["timeframe"] for one in figures["filtered"]] == ["1h", "4h"]
    assert {row["method"] for row in figures["filtered"][0]["rows"]} >= {"candelabra", "majority", "trailing rule"}
    assert {"filtered regimes, macro-F1 over trailing rule"} <= {row.what for row in result.verdict}
    page = result.report.read_text()
    assert "How good they are" in page
    assert "Macro-F1" in page
    assert "one network" not in page
    openings = [json.loads(line) for line in (result.folder.parent / "test-openings.jsonl").read_text().splitlines()]
    assert labels().fingerprint[:10] in json.dumps(openings[0])  # other labels are another trial
    predictor = Predictor.open(result.bundle)
    assert predictor.segmenter is not None
    few = predictor.forecast(MARKET.candles)[0]
    assert few.regimes == {}  # 5,000 bars are fewer than what regimes remember


@pytest.mark.slow
def test_anomalies_of_base_bars_are_judged_by_the_forecasts_of_the_same_bundle(ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, candles = ran.result.bundle, MARKET.candles
    watch = load_watches(bundle)[(candles.symbol, "1h")]
    assert watch.by_forecasts
    told = forecasts_of(Predictor.open(bundle), candles, candles)
    assert np.isfinite(told.quantiles[-500:]).all()
    file = str(ran.result.folder.parent / "SIM5USDT_1h.parquet")
    assert cli(["segment", str(bundle), file, "--anomalies", "--json"]) == 0
    shown = [one for one in json.loads(capsys.readouterr().out)["anomalies"] if one["timeframe"] == "1h"]
    assert [one["open_ms"] for one in shown] == [one.open_ms for one in watch.alarms(candles, forecasts=told)]
    assert cli(["segment", str(bundle), file, "--anomalies"]) == 0
    assert "judged by the bundle's own forecasts" in capsys.readouterr().err.replace("\n", " ")
    # sealed from the forecasts of the calibration range alone, by the model before it was sealed: the same as from all of the bundle's
    again = fit_watch(candles, *cuts(bundle), forecasts=told)
    assert isinstance(again, Watch)
    assert abs(again.threshold.value - watch.threshold.value) < 0.02
    plain = fit_watch(candles, *cuts(bundle))
    assert isinstance(plain, Watch)
    assert abs(plain.threshold.value - watch.threshold.value) > 0.001


def cuts(bundle: Path) -> tuple[int, tuple[int, int]]:
    ranges = read_manifest(bundle).ranges
    return ranges["train"][1], ranges["calibration"]


@pytest.mark.slow
def test_the_sealed_bundle_says_the_regimes_that_were_judged_by_the_network_too(result: TrainResult, tmp_path: Path) -> None:
    regimes = result.regimes
    assert regimes is not None
    fit = regimes.fits["filtered"]
    jointly = {name: TimeframeReader("joint", one.decoder) for name, one in fit.segmenter.readers.items()}
    segmenter = replace(fit.segmenter, readers=jointly)
    assert segmenter.asks_states
    before = segmenter.regimes(MARKET.candles)
    manifest = read_manifest(result.bundle)
    again = replace(segmenter, ask=asked(result.bundle / "parts" / manifest.model, Recipe.of(manifest.recipe)))
    after = again.regimes(MARKET.candles)
    for name in before:
        np.testing.assert_allclose(after[name].probabilities, before[name].probabilities, atol=1e-4)
        assert np.isfinite(after[name].probabilities[-1]).all()
    with pytest.raises(DataError, match="open the whole bundle"):
        replace(segmenter, ask=None).regimes(MARKET.candles)
    certificate = Certificate.load(result.bundle)
    assert certificate is not None
    subjects = {one.subject: one for one in certificate.audits}
    assert {"filtered regimes", "regimes candle by candle", "smoothed regimes", "everything learned (tiny refit)"} <= set(subjects)
    assert all(subjects[name].passed and subjects[name].tried for name in ("filtered regimes", "regimes candle by candle"))
    (check,) = check_regimes(result.bundle, regimes)
    assert check.passed


@pytest.mark.slow
def test_regimes_of_enough_history_come_with_the_forecast(result: TrainResult) -> None:
    predictor = Predictor.open(result.bundle)
    assert predictor.segmenter is not None
    needs = predictor.segmenter.needs
    long = regime_market(needs + 200, 7).candles
    told = predictor.forecast(long)[0]
    assert set(told.regimes) == {"1h", "4h"}
    assert all(abs(sum(chances.values()) - 1) < 1e-6 for chances in told.regimes.values())
    assert predictor.forecast(long.rows(slice(150, None)))[0] == told  # the same bits, however much is given beyond the need
    assert predictor.forecast(long.rows(slice(250, None)))[0].regimes == {}
    (followed,) = OnnxStream(predictor, long.rows(slice(0, -1))).push(long.rows(slice(len(long) - 1, None)))
    for name, chances in told.regimes.items():
        assert followed.regimes[name] == pytest.approx(chances, abs=SAME)


class Shorter(Segmenter):
    """One whose history matters for fewer bars, so that a test need not have many."""

    needs = 1_000


@pytest.mark.slow
@pytest.mark.parametrize("source", ["joint", "network"])
def test_a_stream_of_forecasts_tells_the_regimes_of_its_history(result: TrainResult, source: Any) -> None:
    predictor = Predictor.open(result.bundle)
    assert predictor.segmenter is not None
    own = {field.name: getattr(predictor.segmenter, field.name) for field in fields(predictor.segmenter)}
    readers = {name: TimeframeReader(source, one.decoder) for name, one in own["readers"].items()}
    ask = asked(result.bundle / "parts" / predictor.manifest.model, predictor.recipe)  # validation chose another source
    predictor = replace(predictor, segmenter=Shorter(**{**own, "readers": readers, "ask": ask}))
    candles = regime_market(1_100, 7).candles
    stream, late = OnnxStream(predictor, candles.rows(slice(0, 1_000))), OnnxStream(predictor, candles.rows(slice(2, 998)))
    told = [one for a in (*range(1_000, 1_090), 1_090) for one in stream.push(candles.rows(slice(a, a + 1 if a < 1_090 else 1_100)))]
    assert len(told) == 100
    for bars in (1_001, 1_004, 1_057, 1_099, 1_100):
        seen = candles.rows(slice(0, bars))
        want = predictor.segmenter.regimes(seen)
        said = told[bars - 1_001].regimes
        assert set(said) == {"1h", "4h"}
        for name, reading in want.items():
            np.testing.assert_allclose(list(said[name].values()), reading.probabilities[-1], atol=1e-5)
            assert tuple(said[name]) == reading.labels
    if source == "joint":
        corrections = predictor.segmenter.states(candles).logits
        assert np.nanstd(corrections[-100:]) > 1e-3  # what is compared above depends on them
    live = Follower(predictor, candles.rows(slice(0, 1_000)))
    assert live.follows_regimes
    steps = list(live.advance(spanning(candles, live.as_of_ms, candles.span[1])))
    assert [step.prediction.regimes for step in steps if step.prediction] == [one.regimes for one in told]
    heard = {(bar.timeframe, bar.close_ms): bar for step in steps for bar in step.regimes}
    assert {bar.close_ms for bar in heard.values() if bar.timeframe == "1h"} == {one.as_of_ms for one in told}
    for one in told:
        chances = heard["1h", one.as_of_ms].probabilities.tolist()
        assert list(one.regimes["1h"].values()) == chances, "what is shown of a bar is what its forecast says"
    assert len(heard) == 100 + len({t for t in (one.as_of_ms for one in told) if t % (4 * 3_600_000) == 0})
    first = [one.regimes for a in range(998, 1_006) for one in late.push(candles.rows(slice(a, a + 1)))]
    assert [bool(one) for one in first] == [False] * 3 + [True] * 5  # 996 bars of history, and the fourth makes enough


@pytest.mark.slow
def test_a_stopped_run_does_not_go_on_with_other_labels(result: TrainResult, tmp_path: Path) -> None:
    import shutil

    again = tmp_path / "run"
    shutil.copytree(result.folder, again)
    shutil.rmtree(again / "bundle")
    other = LearningSet.of(list(labels().segmentations)[:1])
    with pytest.raises(DataError, match="other candles or labels"):
        train(CONFIG, [MARKET.candles], resume=again, labels=other)


def test_labels_that_do_not_fit_the_run_are_refused() -> None:
    with pytest.raises(DataError, match="labels XYZ/USDT, and the candles are of"):
        train(CONFIG, [MARKET.candles], labels=labels("XYZ/USDT"))
    coarse = replace(CONFIG, timeframes=TimeframesSection(base="4h", coarse=()), windows=WindowsSection(horizons=("4h",)))
    with pytest.raises(DataError, match=r"1h is labelled, .* set timeframes.base=1h"):
        train(coarse, [MARKET.candles], labels=labels())
    without = replace(CONFIG, ensemble=EnsembleSection(members=("ewma", "har")), model=configure({"model.name": "har"}).model)
    with pytest.raises(UsageError, match="by the model arms, and this run has none"):
        train(without, [MARKET.candles], labels=labels())

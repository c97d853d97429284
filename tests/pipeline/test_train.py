"""The main job, end to end and small: what it writes, what it counts, how it goes on, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.bundles.format import read_manifest
from candelabra.bundles.predictor import Predictor
from candelabra.bundles.verify import verify
from candelabra.candles.frame import Candles
from candelabra.candles.simulate import simulate
from candelabra.cli import main as cli
from candelabra.config.tree import Config, EnsembleSection, FeaturesSection, ModelSection, TimeframesSection, WindowsSection
from candelabra.errors import DataError, UsageError
from candelabra.models.settings import ArmsSettings
from candelabra.pipeline.evaluate import evaluate_bundle
from candelabra.pipeline.material import advice, prepare
from candelabra.pipeline.openings import log_opening
from candelabra.pipeline.train import CANDLES_FILE, TrainResult, train
from candelabra.progress import Silent
from candelabra.sources import read_candles
from candelabra.testing import example_candles, pickles_in
from candelabra.training.settings import TrainingSettings

CONFIG = Config(
    seed=3,
    timeframes=TimeframesSection(base="1h", coarse=("4h",)),
    features=FeaturesSection(base=("return(1)", "log_rv(6)", "range", "target_hour"), coarse=("return(1)", "range")),
    windows=WindowsSection(horizons=("1h", "6h")),
    model=ModelSection(
        "arms",
        ArmsSettings(
            width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
            anchor="har",
        ),
    ),
    training=TrainingSettings(
        sequence_length=48, batch_size=4, steps=9, evaluate_every=3, warmup_steps=3, rehearsal=0.3, precision="float32", threads=1
    ),
    ensemble=EnsembleSection(members=("arms", "har")),
    baselines=("zero", "ewma", "har"),
)  # fmt: skip
CONFIG = replace(CONFIG, evaluation=replace(CONFIG.evaluation, resamples=100))


@pytest.fixture(scope="module")
def candles() -> list[Candles]:
    return [example_candles("1h", 4200, seed=8, symbol="AAA/USDT"), example_candles("1h", 3900, seed=9, symbol="BBB/USDT")]


@pytest.fixture(scope="module")
def result(candles: list[Candles], tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(CONFIG, candles, folder=tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.slow
def test_a_run_leaves_everything_a_stranger_needs(result: TrainResult, candles: list[Candles]) -> None:
    names = {p.relative_to(result.folder).as_posix() for p in result.folder.rglob("*") if p.is_file()}
    for due in ("config.toml", "candles.json", "report.html", "verdict.json", "bundle/bundle.json", "bundle/CARD.md", "bundle/metrics.json",
                "bundle/features.json", "bundle/calibration.json", "bundle/config.toml", "bundle/parts/ensemble/arms/graph-0.onnx",
                "bundle/parts/ensemble/arms/weights-0.safetensors", "checkpoints/arms/seed-3/metrics.jsonl"):  # fmt: skip
        assert due in names, due
    assert not [n for n in names if ".tmp" in n or "draft" in n]
    assert verify(result.bundle) == []
    assert pickles_in(result.bundle) == []
    assert not [n for n in result.notes if "CHECK FAILED" in n]
    page = result.report.read_text()
    assert "AAA/USDT" in page
    assert "SIMULATED" in page  # no market was given along: the candles themselves say so
    assert read_manifest(result.bundle).simulated
    assert "SIMULATED" in (result.bundle / "CARD.md").read_text()
    assert len(page) > 100_000
    assert "<script src" not in page
    assert "<link" not in page
    verdict = json.loads((result.folder / "verdict.json").read_text())
    assert len(verdict) == len(result.verdict) > 0
    predictions = Predictor.open(result.bundle).forecast(candles)
    assert [p.symbol for p in predictions] == ["AAA/USDT", "BBB/USDT"]
    assert all(p.horizons == ("1h", "6h") for p in predictions)


def weights(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.safetensors")}


class PlugPulled(Exception):
    pass


class Pulled(Silent):
    """Interrupts the run at the n-th report of progress made in training."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, amount: float = 1, **values: Any) -> None:
        if "validation" in values:
            self.left -= 1
            if self.left == 0:
                raise PlugPulled


@pytest.mark.slow
@pytest.mark.parametrize("after", [5])
def test_an_interrupted_run_resumed_gives_the_weights_of_an_uninterrupted_one(
    after: int, result: TrainResult, candles: list[Candles], tmp_path: Path
) -> None:
    with pytest.raises(PlugPulled):
        train(CONFIG, candles, folder=tmp_path / "cut", progress=Pulled(after))
    assert not (tmp_path / "cut" / "bundle").exists()
    with pytest.raises(DataError, match="begun with other candles"):
        train(CONFIG, candles[:1], resume=tmp_path / "cut")
    again = train(CONFIG, candles, resume=tmp_path / "cut")
    assert weights(again.bundle) == weights(result.bundle)
    assert len(weights(again.bundle)) == 1
    one, two = (Predictor.open(b.bundle).forecast(candles) for b in (again, result))
    assert [p.log_volatility for p in one] == [p.log_volatility for p in two]
    assert [p.quantiles for p in one] == [p.quantiles for p in two]


@pytest.mark.slow
def test_an_interrupted_demo_goes_on_with_the_market_in_its_folder(tmp_path: Path) -> None:
    market = simulate("SIM/USDT", "1h", bars=4000, seed=4)
    config = replace(CONFIG, baselines=("zero",))
    with pytest.raises(PlugPulled):
        train(config, [market.candles], folder=tmp_path / "cut", progress=Pulled(2), market={"SIM/USDT": market})
    assert read_candles(tmp_path / "cut" / CANDLES_FILE)[0].fingerprint == market.candles.fingerprint
    assert cli(["train", "--resume", str(tmp_path / "cut"), "--quiet"]) == 0  # no file is named
    assert read_manifest(tmp_path / "cut" / "bundle").simulated


@pytest.mark.slow
def test_a_run_folder_in_use_and_a_finished_run_are_refused(result: TrainResult, candles: list[Candles], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not empty: choose another --out, or continue it"):
        train(CONFIG, candles, folder=result.folder)
    with pytest.raises(DataError, match="is finished: its bundle is sealed"):
        train(CONFIG, candles, resume=result.folder)
    with pytest.raises(DataError, match=r"cannot be resumed: it has no config.toml"):
        train(CONFIG, candles, resume=tmp_path)


@pytest.mark.slow
def test_a_bundle_is_judged_on_later_candles(result: TrainResult, candles: list[Candles], tmp_path: Path) -> None:
    later = [example_candles("1h", 5200, seed=8, symbol="AAA/USDT"), example_candles("1h", 4900, seed=9, symbol="BBB/USDT")]
    judged = evaluate_bundle(result.bundle, later, folder=tmp_path / "later")
    assert judged.report.exists()
    assert (tmp_path / "later" / "metrics.json").exists()
    assert not [n for n in judged.notes if "CHECK FAILED" in n]
    opened = [n for n in judged.notes if "own test range" in n]
    test = read_manifest(result.bundle).ranges["test"]
    inside = [int(((c.close_time > test[0]) & (c.close_time <= test[1])).sum()) for c in later]
    assert opened[0].startswith(f"{sum(inside):,} of the ")
    assert "no fresh evidence" in judged.report.read_text()
    cut = json.loads((result.bundle / "bundle.json").read_text())["ranges"]["test"][0]
    with pytest.raises(DataError, match="no candle given closes after"):
        evaluate_bundle(result.bundle, [c.between(end_ms=cut) for c in later], folder=tmp_path / "none")


def test_openings_of_a_test_range_are_counted_by_configuration_and_by_look(tmp_path: Path) -> None:
    assert log_opening(tmp_path, "data", 0, 10, "a") == (1, 1)
    assert log_opening(tmp_path, "data", 0, 10, "a") == (1, 2)
    assert log_opening(tmp_path, "data", 0, 10, "b") == (2, 3)
    assert log_opening(tmp_path, "data", 0, 20, "c") == (1, 1)
    assert log_opening(tmp_path, "other", 0, 10, "c") == (1, 1)
    assert len((tmp_path / "test-openings.jsonl").read_text().splitlines()) == 5


def test_a_line_of_the_log_cut_short_is_passed_over(tmp_path: Path) -> None:
    log_opening(tmp_path, "data", 0, 10, "a")
    with (tmp_path / "test-openings.jsonl").open("a") as file:
        file.write('{"range": "ab')  # the machine went down while writing
    assert log_opening(tmp_path, "data", 0, 10, "b") == (2, 2)


def flat(candles: Candles) -> Candles:
    price = np.full(len(candles), 5.0)
    return Candles.of(candles.symbol, candles.timeframe, candles.open_time, price, price, price, price, candles.volume)


def test_an_empty_part_after_the_purge_is_refused_with_dates() -> None:
    config = replace(CONFIG, windows=WindowsSection(horizons=("1h", "24h")))
    with pytest.raises(DataError, match=r"the validation part \(.* bars over 1 symbol.* is empty after a purge of 1.00 days"):
        prepare([example_candles("1h", 200, seed=1, gaps=False)], config)


def test_too_few_bars_are_refused_with_figures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 2 closed 4h bars|too few|is empty"):
        prepare([example_candles("1h", 11, seed=1, gaps=False)], CONFIG)
    with pytest.raises(DataError, match=r"too few|more candles"):
        train(CONFIG, [example_candles("1h", 400, seed=1)], folder=tmp_path / "run")
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_symbol_that_is_not_there_is_refused_with_a_guess(candles: list[Candles]) -> None:
    config = replace(CONFIG, candles=replace(CONFIG.candles, symbols=("AAB/USDT",)))
    with pytest.raises(UsageError, match=r"no candles of 'AAB/USDT': did you mean \"AAA/USDT\""):
        prepare(candles, config)


def test_no_candles_are_refused() -> None:
    with pytest.raises(DataError, match="there are no candles"):
        prepare([], CONFIG)


def test_minutes_that_only_make_the_hours_are_worth_a_word() -> None:
    config = replace(CONFIG, timeframes=TimeframesSection(base="1h", coarse=("4h",)))
    minutes, quarters = (example_candles(tf, 300, seed=1, symbol="AAA/USDT") for tf in ("1m", "15m"))
    (line,) = advice([minutes], config)
    assert line.startswith("AAA/USDT: the 1m candles only make the 1h bars")
    assert line.endswith("--set timeframes.fine=5m")
    assert advice([quarters], config)[0].endswith("--set timeframes.fine=15m")
    assert advice([minutes], replace(config, timeframes=TimeframesSection(base="1h", coarse=("4h",), fine=("5m",)))) == []
    assert advice([example_candles("1h", 300, seed=1, symbol="AAA/USDT")], config) == []


def test_coarse_candles_alone_are_refused(candles: list[Candles]) -> None:
    from candelabra.candles.resample import resample

    with pytest.raises(UsageError, match=r"1h candles cannot be made of 4h: give candles of 1h or of a timeframe that divides it"):
        prepare([resample(candles[0], "4h")], CONFIG)


def test_constant_prices_are_refused_or_learned_from_but_never_crash(candles: list[Candles], tmp_path: Path) -> None:
    try:
        done = train(replace(CONFIG, ensemble=EnsembleSection(members=())), [flat(candles[0])], folder=tmp_path / "run")
    except DataError as error:
        assert "AAA/USDT" in str(error) or "never" in str(error) or "constant" in str(error)  # noqa: PT017
        assert not (tmp_path / "run" / "bundle").exists()
    else:
        assert np.isfinite(Predictor.open(done.bundle).forecast(flat(candles[0]))[0].log_volatility).all()


@pytest.mark.slow
def test_a_gap_that_silences_the_whole_test_range_is_refused_with_the_reason(candles: list[Candles], tmp_path: Path) -> None:
    row = np.arange(len(candles[0]))
    with pytest.raises(DataError, match=r"ensemble has no forecast on any of the \d+ test bars: .*gap"):
        train(CONFIG, [candles[0].rows((row < 3200) | (row > 3500))], folder=tmp_path / "run")
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["no volume", "a gap across the test cut", "one symbol ends before validation"])
def test_odd_but_honest_candles_work(case: str, candles: list[Candles], tmp_path: Path) -> None:
    one, two = candles
    if case == "no volume":
        given = [Candles.of(one.symbol, "1h", one.open_time, *one.values()[:4], np.zeros(len(one)))]
    elif case == "a gap across the test cut":
        given = [one.rows((np.arange(len(one)) < 3350) | (np.arange(len(one)) > 3380))]
    else:
        given = [one, two.rows(slice(0, 1800))]
    done = train(CONFIG, given, folder=tmp_path / "run")
    assert not [n for n in done.notes if "CHECK FAILED" in n]
    assert np.isfinite(Predictor.open(done.bundle).forecast(given[0])[0].log_volatility).all()

"""Regimes learned in the network that forecasts: its graphs say what torch says, bar by bar too, and nothing later moves a bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from candelabra.bundles.engines import OnnxNetwork, load_engine
from candelabra.bundles.steps import NetworkSteps
from candelabra.candles import REGIMES, Candles
from candelabra.candles.regime_markets import RegimeMarket, regime_market
from candelabra.errors import DataError, UsageError
from candelabra.features.scaling import ScalerSettings
from candelabra.models import inputs
from candelabra.models.base import FitData
from candelabra.models.network import FittedNetwork, load, regime_states
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.segmenter import BaseStates, TimeframeReader
from candelabra.models.segmenter_stream import SegmenterStream
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.models.switching import SwitchingSettings
from candelabra.regimes.segmentation import Segmentation
from candelabra.training.export import export_graphs
from candelabra.training.fit import fit_network
from candelabra.training.regime_fit import RegimeData, RegimeFit, fit_regime_network, regime_training
from candelabra.training.segmenter_fit import fit_segmenter
from candelabra.training.settings import TrainingSettings
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.series import Series
from candelabra.windows.targets import make_targets

TINY = ArmsSettings(
    width=16, layers=2, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=4, anchor="ewma"
)
MARKET = regime_market(3_000, 5)
TRAIN, VALIDATION = 2_000, 2_500
RECIPE = Recipe("1h", coarse=("4h", "1d"), horizons=("1h", "6h"))


def labels_of(market: RegimeMarket) -> RegimeData:
    close = market.candles.close_time
    segments = (Segmentation.of_bars(market.candles, REGIMES, market.regime.astype(np.int16)),)
    return RegimeData((market.candles,), REGIMES, {"1h": segments}, int(close[TRAIN - 1]), int(close[VALIDATION - 1]))


def forecasts_of(candles: Candles) -> FitData:
    series = build_series(candles, RECIPE)
    rows = (np.arange(TRAIN - 6), np.arange(TRAIN, VALIDATION - 6))
    return FitData((series,), (make_targets(series, RECIPE),), (rows[0],), (rows[1],))


@pytest.fixture(scope="module")
def alone() -> RegimeFit:
    usual = regime_training(256)
    few = replace(usual, batch_size=8, steps=10, evaluate_every=5, warmup_steps=2)
    return fit_regime_network(
        labels_of(MARKET), TcnSettings(width=12, layers=4), few, switching=SwitchingSettings(spans=(24,), iterations=5)
    )


def trained(alone: RegimeFit, settings: ArmsSettings, seeds: int = 1) -> tuple[FittedNetwork, list[Any]]:
    training = TrainingSettings(steps=6, evaluate_every=3, sequence_length=128, rehearsal=0.3, precision="float32", threads=1, seeds=seeds)
    data = forecasts_of(MARKET.candles)
    targets = alone.corrections(labels_of(MARKET), [data.series[0].base_candles])
    return fit_network(data, settings, training, ScalerSettings(fill=0.0), regimes=targets)


def spoken(fitted: FittedNetwork) -> FittedNetwork:
    """The networks with weights in their regime heads that are far from zero."""
    generator = torch.Generator().manual_seed(3)
    for module in fitted.modules:
        with torch.no_grad():
            module.regimes.linear.weight.normal_(0, 0.3, generator=generator)  # type: ignore[union-attr,operator]
    return fitted


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["hierarchical"])  # windows of windows: the hardest to place; cross runs in test_joint of the pipeline
def test_graphs_say_what_torch_says_of_every_bar_and_bar_by_bar(
    fusion: str, alone: RegimeFit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "REGIME_BARS", 64)
    for room in ("candelabra.training.export", "candelabra.bundles.engines"):
        monkeypatch.setattr(f"{room}.REGIME_BARS", 64)
    fitted = spoken(trained(alone, replace(TINY, fusion=fusion), seeds=1)[0])  # type: ignore[arg-type]
    fitted.save(tmp_path)
    export_graphs(fitted, tmp_path)
    gone = np.r_[0:2_100, 2_109:2_300, 2_380:3_000]  # two outages, one longer than a piece
    series = build_series(MARKET.candles.rows(gone), RECIPE)
    engine = load_engine(tmp_path)
    assert isinstance(engine, OnnxNetwork)
    assert engine.tells_regimes
    told = engine.regime_states(series)
    prepared = fitted.spec.prepare(series)
    wanted = regime_states(load(tmp_path).modules, prepared, prepared.first, len(series))  # type: ignore[arg-type]
    assert np.isnan(told.logits[: prepared.first]).all()
    spread, late = wanted.std(axis=0), slice(engine.windows["1h"], None)
    away = np.abs(told.logits[prepared.first :] - wanted)[late]
    np.testing.assert_array_less(away, 1e-5 * np.maximum(np.abs(wanted), spread)[late])
    live = stepped(fitted, tmp_path, series, 300)
    np.testing.assert_allclose(live[-100:], wanted[-100:], rtol=1e-5, atol=1e-5 * float(spread.max()))
    cut = build_series(MARKET.candles.rows(gone[:-37]), RECIPE)
    np.testing.assert_array_equal(engine.regime_states(cut).logits, told.logits[:-37])


def stepped(fitted: FittedNetwork, folder: Path, series: Series, bars: int) -> NDArray[np.float32]:
    """Corrections at the last ``bars`` base bars, each pushed as it closed."""
    prepared = fitted.spec.prepare(series)
    steps = [NetworkSteps(folder, k, fitted.spec.coarse) for k in range(len(fitted.modules))]
    told = []
    close = {tf: series.candles[tf].close_time for tf in fitted.spec.coarse}
    known = {tf: int(np.searchsorted(c, series.close_time[-bars - 1], "right")) - 40 for tf, c in close.items()}
    for row in range(len(series) - bars, len(series)):
        for tf in reversed(fitted.spec.coarse):
            stop = int(np.searchsorted(close[tf], series.close_time[row], "right"))
            for k in range(max(known[tf], 0), stop):
                for one in steps:
                    one.push_coarse(tf, prepared.x[tf][k])
            known[tf] = stop
        for one in steps:
            one.push(prepared.x["1h"][row])
        told.append(np.mean([one.regimes for one in steps], axis=0))
    return np.stack(told)


def test_the_forecast_does_not_read_regime_inputs(alone: RegimeFit, tmp_path: Path) -> None:
    fitted, _ = trained(alone, TINY)
    fitted.save(tmp_path)
    series = build_series(MARKET.candles, RECIPE)
    rows = np.array([2_900])
    again = load(tmp_path)
    assert again.modules[0].layout.regimes == {"1h": REGIMES}  # type: ignore[union-attr]
    np.testing.assert_array_equal(again.predict(series, rows).quantiles, fitted.predict(series, rows).quantiles)


def test_labels_move_the_weights_and_those_known_too_late_do_not(alone: RegimeFit) -> None:
    data, labels = forecasts_of(MARKET.candles), labels_of(MARKET)
    training = TrainingSettings(steps=3, evaluate_every=3, sequence_length=128, rehearsal=0.0, precision="float32", threads=1)

    def weights(code: NDArray[np.int16]) -> NDArray[np.float32]:
        segments = (Segmentation.of_bars(MARKET.candles, REGIMES, code),)
        changed = replace(labels, segmentations={"1h": segments})
        targets = alone.corrections(changed, [data.series[0].base_candles])
        module = fit_network(data, TINY, training, ScalerSettings(fill=0.0), regimes=targets)[0].modules[0]
        return module.regimes.linear.weight.detach().numpy().copy()  # type: ignore[union-attr,operator]

    usual = MARKET.regime.astype(np.int16)
    late, early = usual.copy(), usual.copy()
    late[VALIDATION:] = (late[VALIDATION:] + 1) % 4
    early[1_200:1_700] = (early[1_200:1_700] + 1) % 4
    np.testing.assert_array_equal(weights(late), weights(usual))
    assert not np.array_equal(weights(early), weights(usual))


def test_the_corrected_convolution_is_weighed_with_the_others(alone: RegimeFit) -> None:
    fitted, runs = trained(alone, TINY)
    assert len(runs[0].history[-1]["parts"]) == 4  # the forecast's two, macro-F1, covering
    series = build_series(MARKET.candles, RECIPE)
    prepared = fitted.spec.prepare(series)
    logits = regime_states(fitted.modules, prepared, 0, len(series))  # type: ignore[arg-type]
    logits[: prepared.first] = np.nan
    states = BaseStates(series.close_time, logits)
    fit = fit_segmenter(labels_of(MARKET), network=alone, states=[states])
    assert {c.source for c in fit.choices} == {"logistic", "network", "joint"}  # too few segments for a switching model
    assert fit.network is alone


def test_candle_by_candle_the_corrected_convolution_says_what_it_says_of_the_history(alone: RegimeFit) -> None:
    bars = MARKET.candles.rows(slice(0, 1_500))
    random = np.random.default_rng(0)
    states = BaseStates(bars.close_time, random.normal(size=(len(bars), 5)).astype(np.float32))
    segmenter = fit_segmenter(labels_of(MARKET), network=alone).segmenter
    readers = {name: TimeframeReader("joint", one.decoder) for name, one in segmenter.readers.items()}
    segmenter = replace(segmenter, readers=readers, ask=lambda _: states)
    whole = segmenter.regimes(bars)["1h"]
    stream = SegmenterStream(segmenter, bars.rows(slice(0, 1_400)), states.logits[:1_400])
    for k in range(1_400, 1_500):
        (bar,) = stream.push(bars.rows(slice(k, k + 1)), states.logits[k : k + 1])
        np.testing.assert_allclose(bar.probabilities, whole.probabilities[k], rtol=1e-5, atol=1e-6)
        assert bar.label == whole.labels[whole.code[k]]
    with pytest.raises(DataError, match=r"need states \(1, 5\) of the network that forecasts: got none"):
        stream.push(MARKET.candles.rows(slice(1_500, 1_501)))


def test_gpt2_says_that_it_learns_no_regimes(alone: RegimeFit) -> None:
    data = forecasts_of(MARKET.candles)
    targets = alone.corrections(labels_of(MARKET), [data.series[0].base_candles])
    with pytest.raises(UsageError, match="gpt2 has no head for regimes"):
        fit_network(data, Gpt2Settings(), TrainingSettings(steps=1), ScalerSettings(), regimes=targets)

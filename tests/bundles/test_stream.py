"""A bundle that follows a market candle by candle says what it says of the whole history, without torch and from any restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from candelabra.bundles.predictor import Prediction, Predictor
from candelabra.bundles.steps import NetworkSteps
from candelabra.bundles.stream import OnnxStream
from candelabra.bundles.verify import verify
from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.arms import ArmsLayout, ArmsNetwork
from candelabra.models.settings import ArmsSettings, receptive_field
from candelabra.testing import example_candles
from candelabra.training.export_steps import export_steps

TINY = ArmsSettings(
    width=16, layers=2, heads=2, coarse_width=8, coarse_layers=2, coarse_heads=1, attention_width=8, coarse_attention_width=5
)
BARS = 120
Floats = NDArray[np.float32]


def network_of(settings: ArmsSettings) -> ArmsNetwork:
    layout = ArmsLayout("1h", ("4h", "1d"), ("15m",), {"1h": 5, "4h": 3, "1d": 2, "15m": 8})
    levels = np.linspace(-2, 2, 21, dtype=np.float32)
    network = ArmsNetwork(settings, layout, np.stack([levels, 2 * levels]), np.ones(2, np.float32))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3, generator=generator)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def near(a: Floats, b: Floats, spread_of: Floats) -> bool:
    """Law 3's measure."""
    return bool((np.abs(a - b) <= 1e-5 * np.maximum(np.abs(b), spread_of.std(axis=0))).all())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            pytest.param(c, marks=pytest.mark.slow)
            for c in ({"fusion": "hierarchical"}, {"fusion": "concat"}, {"attention_width": 1, "layers": 1})
        ),
    ],
    ids=lambda c: "-".join(f"{k} {v}" for k, v in c.items()) or "cross",
)
@torch.inference_mode()
def test_the_step_graphs_give_what_torch_gives_over_the_whole_history(changes: dict[str, object], tmp_path: Path) -> None:
    network = network_of(replace(TINY, **changes))  # type: ignore[arg-type]
    export_steps(network, tmp_path, 0)
    steps = NetworkSteps(tmp_path, 0, ("4h", "1d"))
    random = np.random.default_rng(0)
    x = {tf: random.normal(size=(n, c)).astype(np.float32) for tf, n, c in (("1h", BARS, 5), ("15m", BARS, 8), ("4h", 30, 3), ("1d", 5, 2))}
    base = np.arange(1, BARS + 1)
    asof = {"1h>4h": base // 4 - 1, "1h>1d": base // 24 - 1, "4h>1d": np.arange(1, 31) // 6 - 1}
    whole = network(
        {tf: torch.from_numpy(v)[None] for tf, v in x.items()}, {link: torch.from_numpy(index)[None] for link, index in asof.items()}
    )
    live: list[tuple[Floats, Floats]] = []
    for t in range(BARS):
        for tf, ratio in (("1d", 24), ("4h", 4)):
            if (t + 1) % ratio == 0:
                steps.push_coarse(tf, x[tf][(t + 1) // ratio - 1])
        live.append(steps.push(x["1h"][t], {"15m": x["15m"][t]}))
    assert steps.bars == BARS > 5 * receptive_field(TINY.layers, TINY.attention_width)
    for k, wanted in enumerate(whole):
        exact = wanted[0].numpy()
        assert near(np.stack([answer[k] for answer in live]), exact, exact)
        assert exact.std(axis=0).min() > 0.01
    with pytest.raises(UsageError, match="no 2h arm: its coarse timeframes are 4h, 1d"):
        steps.push_coarse("2h", x["4h"][0])


@pytest.fixture(scope="module")
def market() -> Candles:
    return example_candles("15m", 4 * 1400, seed=3)


@pytest.fixture(scope="module")
def predictor(product: Path) -> Predictor:
    return Predictor.open(product)


def alike(live: Prediction, whole: Prediction, spread: float) -> bool:
    """Law 3 over everything a prediction says; ``spread``: how much the channel moves from bar to bar."""
    assert replace(live, **dict.fromkeys(("quantiles", "prices", "mean", "volatility", "log_volatility"), ())) == replace(
        whole, **dict.fromkeys(("quantiles", "prices", "mean", "volatility", "log_volatility"), ())
    )
    pairs = [(getattr(live, f), getattr(whole, f)) for f in ("quantiles", "mean", "volatility", "log_volatility")]
    return all((np.abs(np.subtract(a, b)) <= 1e-5 * np.maximum(np.abs(b), spread)).all() for a, b in pairs)


def test_candle_by_candle_a_bundle_says_what_it_says_of_the_whole_history(predictor: Predictor, market: Candles) -> None:
    start = len(market) - 4 * 60
    stream = OnnxStream(predictor, market.rows(slice(0, start)))
    assert stream.stepping == ["arms"]
    found: list[Prediction] = []
    for row in range(start, len(market)):
        told = stream.push(market.rows(slice(row, row + 1)))
        assert len(told) == (int(market.close_time[row]) % 3_600_000 == 0)  # a prediction at each base close, and at no other time
        found += told
    assert len(found) == 60
    spread = float(np.std([p.quantiles for p in found], axis=0).min())
    assert spread > 0
    for prediction in found:
        (whole,) = predictor.forecast(market.between(end_ms=prediction.as_of_ms))
        assert alike(prediction, whole, spread)
    assert stream.as_of_ms == found[-1].as_of_ms == market.close_time[-1]


def test_a_restart_and_bars_that_come_in_one_lump_change_nothing(predictor: Predictor, market: Candles) -> None:
    frames = [resample(market, tf) for tf in ("1h", "4h")]
    given = [market, *frames]
    cut = int(frames[1].close_time[-7])
    late = OnnxStream(predictor, [c.between(end_ms=cut) for c in given])
    lump = late.push([c.between(start_ms=cut) for c in given])
    assert [p.as_of_ms for p in lump] == [int(t) for t in frames[0].close_time if t > cut]
    middle = int(frames[1].close_time[-3])
    again = OnnxStream(predictor, [c.between(end_ms=middle) for c in given])
    rest = again.push([c.between(start_ms=middle) for c in given])
    for a, b in zip(rest, lump[-len(rest) :], strict=True):
        assert alike(a, b, 1e-4)


def test_after_a_gap_a_stream_still_says_what_the_whole_history_says(predictor: Predictor, market: Candles) -> None:
    start = len(market) - 4 * 80
    kept = np.ones(len(market), bool)
    kept[start + 41 : start + 41 + 4 * 9] = False  # nine hours are absent, a 4h bar and more
    holed = market.rows(kept)
    stream = OnnxStream(predictor, holed.rows(slice(0, start)))
    found = [p for row in range(start, len(holed)) for p in stream.push(holed.rows(slice(row, row + 1)))]
    assert len(found) > 40
    series = predictor.series(holed)
    late = 0
    for prediction in found:
        row = int(np.searchsorted(series.close_time, prediction.as_of_ms))
        whole = predictor.prediction(series, row, predictor.outputs(series, np.array([row])), prediction.newest_ms)
        assert alike(prediction, whole, 1e-3)
        late += prediction.newest_ms > prediction.as_of_ms
    assert late == 1  # the bar that the gap cut short was known to have closed only when the next candle came


def test_the_newest_candle_moves_what_a_stream_says(predictor: Predictor, market: Candles) -> None:
    history, last = market.rows(slice(0, -4)), market.rows(slice(-4, None))
    close = np.append(last.close[:-1], last.close[-1] * 1.1)
    jumped = Candles.of(last.symbol, "15m", last.open_time, last.open, last.high * 1.2, last.low, close, last.volume)
    (calm,), (shaken,) = (OnnxStream(predictor, history).push(c) for c in (last, jumped))
    assert calm.log_volatility != shaken.log_volatility


def test_what_does_not_come_after_is_refused_and_changes_nothing(predictor: Predictor, market: Candles) -> None:
    history, last = market.rows(slice(0, -4)), market.rows(slice(-4, None))
    stream = OnnxStream(predictor, history)
    with pytest.raises(DataError, match=r"does not come after the newest seen, .*: push each closed candle once, in order"):
        stream.push(history.rows(slice(-1, None)))
    with pytest.raises(DataError, match=r"1h: this stream began from 15m candles"):
        stream.push(resample(market, "1h").rows(slice(-1, None)))
    assert stream.push(last) == OnnxStream(predictor, history).push(last)
    with pytest.raises(DataError, match=r"closed bars, \d+ are needed"):
        OnnxStream(predictor, market.rows(slice(-200, None)))
    with pytest.raises(DataError, match="a stream follows one symbol"):
        OnnxStream(predictor, [])


def test_the_steps_are_sealed_and_a_damaged_one_is_refused(product: Path, tmp_path: Path) -> None:
    part = product / "parts" / "ensemble" / "arms"
    assert {p.name for p in part.glob("step-*")} == {"step-0.onnx", "step-0-4h.onnx"}
    assert verify(product) == []
    for path in part.glob("step-*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "step-0-4h.onnx").unlink()
    with pytest.raises(BundleError, match="no step graph of the 4h arm"):
        NetworkSteps(tmp_path, 0, ("4h",))
    (tmp_path / "step-0.onnx").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"the step .*step-0.onnx cannot be opened"):
        NetworkSteps(tmp_path, 0, ("4h",))

"""The segmenter on the ten benchmark markets beside the oracle's ceilings: filtered, after a lag, smoothed, and learned from one market.

``python -m bench run regimes/segmenter regimes/oracle`` with the reach beside each figure. Filtered rows come from one output stream; the
oracle's are decoded by the same rule, tuned on the same validation bars. Markets and split as in `bench.segmentation`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.item import Goal, Item, Reading, Tool
from bench.segmentation import DELAY, FLIPS, LAG, Ground, ground
from bench.timing import digest
from candelabra.candles.frame import Candles
from candelabra.candles.regime_oracle import oracle_filtered, oracle_lagged, oracle_viterbi
from candelabra.candles.simulate import REGIMES
from candelabra.metrics.segments import segment_scores
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.segmentation import Segmentation
from candelabra.training.decoder_choice import Bounds, choose_decoder

SEEDS = 3

Codes = NDArray[np.int16]
Figures = dict[str, NDArray[np.float64]]
"""By name, ``(markets,)`` each."""

_UNITS = {
    "macro_f1": "macro-F1",
    "covering": "covering",
    "boundary_f1_5": "boundary F1 at 5 %",
    "flips": "flips in 1,000 bars",
    "delay_median": "bars of delay, median",
}


def _seal(on: Ground) -> str:
    return digest(*(m.regime for m in on.markets), *(m.returns for m in on.markets), digits=6)


def _judge(on: Ground, shown: Sequence[Codes], lag: int = 0) -> Figures:
    """Figures of each market on the test range."""
    scores = [
        segment_scores(m.regime[on.learn : len(m.regime) - lag], s[on.learn : len(m.regime) - lag], labels=4)
        for m, s in zip(on.markets, shown, strict=True)
    ]
    return {name: np.array([getattr(one, name) for one in scores], np.float64) for name in _UNITS}


def _readings(seeds: Sequence[Figures], name: str = "") -> dict[str, Reading]:
    """Each figure as a mean over seeds and markets (of the delay a market: the median over markets), with a 95 % interval over markets."""
    found = {}
    for figure, unit in _UNITS.items():
        values = np.mean([one[figure] for one in seeds], axis=0)
        low, high = over_markets(values, _middle(figure))
        note = f"[{low:.3f}, {high:.3f}] over {len(values)} markets, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
        found[f"{name}/{figure}".strip("/")] = Reading(float(_middle(figure)(values, axis=-1)), unit, note=note)
    return found


def _middle(figure: str) -> Callable[..., Any]:
    return np.median if figure == "delay_median" else np.mean


def over_markets(values: NDArray[np.float64], middle: Callable[..., Any] = np.mean, resamples: int = 2_000) -> tuple[float, float]:
    """A 95 % bootstrap interval of the mean (or another ``middle``) of figures ``(markets,)``: whole markets are drawn.

    >>> over_markets(np.array([0.5, 0.5, 0.5]))
    (0.5, 0.5)
    """
    drawn = values[np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))]
    low, high = np.percentile(middle(drawn, axis=1), (2.5, 97.5))
    return float(low), float(high)


@cache
def _data(small: bool, only: int | None = None) -> Any:
    from candelabra.training.regime_fit import RegimeData

    on = ground(small)
    chosen = on.markets if only is None else on.markets[only : only + 1]
    segments = tuple(Segmentation.of_bars(m.candles, REGIMES, m.regime.astype(np.int16)) for m in chosen)
    close = chosen[0].candles.close_time
    return RegimeData(tuple(m.candles for m in chosen), REGIMES, {"1h": segments}, int(close[on.train - 1]), int(close[on.learn - 1]))


def _candelabra(small: bool) -> dict[str, Reading]:
    from candelabra.training.segmenter_fit import fit_segmenter

    on, bounds = ground(small), Bounds(FLIPS, DELAY)
    found: dict[str, list[Figures]] = {"filtered": [], "lag": [], "smoothed": [], "one market": []}
    sources = []
    cost = 0.0
    for seed in range(1 if small else SEEDS):
        filtered = fit_segmenter(_data(small), mode="filtered", bounds=bounds, seed=seed).segmenter
        began = time.process_time()
        told = [filtered.regimes(m.candles)["1h"] for m in on.markets]
        cost = (time.process_time() - began) / sum(len(m.candles) for m in on.markets) * 1e5
        found["filtered"].append(_judge(on, [one.code for one in told]))
        heard = filtered.inputs.switching["1h"]
        waiting = Decoder(DecoderSettings("fixed_lag", lag=LAG), heard.labels, heard.durations)
        found["lag"].append(_judge(on, [waiting.decode(heard.probabilities(m.candles)) for m in on.markets], LAG))
        smoothed = fit_segmenter(_data(small), mode="smoothed", seed=seed).segmenter
        found["smoothed"].append(_judge(on, [smoothed.regimes(m.candles)["1h"].code for m in on.markets]))
        alone = fit_segmenter(_data(small, 0), mode="filtered", bounds=bounds, seed=seed).segmenter
        others = Ground(on.markets[1:], on.train, on.learn)
        found["one market"].append(_judge(others, [alone.regimes(m.candles)["1h"].code for m in others.markets]))
        sources.append(f"{filtered.readers['1h'].source}, {smoothed.readers['1h'].source}, {alone.readers['1h'].source}")
    readings = {"": Reading(float(np.mean([f["macro_f1"] for f in found["filtered"]])), "macro-F1", _seal(on), "; ".join(sources))}
    for name, seeds in found.items():
        readings |= _readings(seeds, name)
    return readings | {
        "cost": Reading(cost, "CPU s for 100k bars"),
        "bar": Reading(_new_bar(filtered, on.markets[0].candles), "CPU ms a new bar"),
    }


def _new_bar(segmenter: Any, candles: Candles) -> float:
    """CPU milliseconds of one more candle: the switching model's stream and the decoder's."""
    model, decoder = segmenter.inputs.switching["1h"], segmenter.readers["1h"].decoder
    stream, shown = model.stream(candles.symbol), decoder.stream()
    stream.push(candles.rows(slice(0, 1_000)))
    parts = [candles.rows(slice(k, k + 1)) for k in range(1_000, 2_000)]
    began = time.process_time()
    for part in parts:
        shown.push(stream.push(part)[0])
    return time.process_time() - began


def _oracle(small: bool) -> dict[str, Reading]:
    on = ground(small)
    durations = fit_durations(list(on.train_codes), 4)
    told = [oracle_filtered(m) for m in on.markets]
    decoder, _ = choose_decoder(
        "hysteresis", [p[: on.learn] for p in told], [m.regime[: on.learn] for m in on.markets], REGIMES, durations,
        bounds=Bounds(FLIPS, DELAY), start=[on.train] * len(on.markets), tilts=(0.0,),
    )  # fmt: skip
    filtered = _judge(on, [decoder.decode(p) for p in told])
    late = [np.argmax(np.nan_to_num(oracle_lagged(m, LAG)), 1).astype(np.int16) for m in on.markets]
    readings = {"": Reading(float(filtered["macro_f1"].mean()), "macro-F1", _seal(on), "true parameters, true variance factor")}
    readings |= _readings([filtered], "filtered") | _readings([_judge(on, late, LAG)], "lag")
    return readings | _readings([_judge(on, [oracle_viterbi(m).astype(np.int16) for m in on.markets])], "smoothed")


def _share(figure: str) -> Any:
    return lambda v: v["candelabra"][figure] / v["oracle"][figure]


def _own(figure: str) -> Any:
    return lambda v: v["candelabra"][figure]


SEGMENTER = Item(
    "regimes/segmenter",
    "ten simulated markets with known regimes: filtered within 6 flips and 25 bars, after 30 bars, smoothed, learned from one market",
    {"candelabra": Tool(_candelabra, ("torch",)), "oracle": Tool(_oracle)},
    (
        Goal("candelabra", "filtered/macro_f1", _share("filtered/macro_f1"), ">= 0.95"),
        Goal("candelabra", "filtered/covering", _share("filtered/covering"), ">= 0.95"),
        Goal("candelabra", "filtered/flips", _own("filtered/flips"), "<= 6"),
        Goal("candelabra", "filtered/delay_median", _own("filtered/delay_median"), "<= 25"),
        Goal("candelabra", "lag/macro_f1", _share("lag/macro_f1"), ">= 0.97"),
        Goal("candelabra", "smoothed/macro_f1", _own("smoothed/macro_f1"), ">= 0.95"),
        Goal("candelabra", "smoothed/boundary_f1_5", _own("smoothed/boundary_f1_5"), ">= 0.80"),
        Goal("candelabra", "one market/macro_f1", _own("one market/macro_f1"), ">= 0.80"),
        Goal("candelabra", "cost", _own("cost"), "<= 0.5", absolute=True),
        Goal("candelabra", "bar", _own("bar"), "<= 1", absolute=True),
    ),
    reference="oracle",
    rounds=1,  # seeds are inside
    limit=7_200,
)
ITEMS = (SEGMENTER,)

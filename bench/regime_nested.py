"""Nested markets: one network with a head for each timeframe beside one network a timeframe, by what either shows at 1h and 1d.

``python -m bench run regimes/nested``. Each market has regimes of days and, inside them, regimes of hours; both truths are known. The
networks differ in nothing but what is labelled: the joint one learns both timeframes, the others one each, from the same hours, steps and
seed, and their chances are decoded by the same kind of decoder, chosen on validation. Intervals are bootstraps over markets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.item import Goal, Item, Reading, Tool
from bench.timing import digest
from candelabra.candles.nested_markets import NestedMarket, nested_markets
from candelabra.candles.simulate import REGIMES
from candelabra.candles.timeframe import timeframe
from candelabra.metrics.segment_differences import difference_over_markets
from candelabra.metrics.segments import segment_scores
from candelabra.models.regime_inputs import candles_at
from candelabra.regimes.segmentation import Segmentation

__all__ = ["ITEMS"]

MARKETS, DAYS, SEEDS = 8, 600, 3
FRAMES: Final = ("1h", "1d")
FIGURES: Final = ("macro_f1", "covering")
_TRAIN, _VALIDATION = 0.55, 0.70

Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""``scores[timeframe][figure]`` ``(markets,)`` on the test range."""


@cache
def _markets(small: bool) -> tuple[NestedMarket, ...]:
    return nested_markets(2, 200) if small else nested_markets(MARKETS, DAYS)


def _data(small: bool, frames: Sequence[str]) -> Any:
    from candelabra.training.regime_fit import RegimeData

    on = _markets(small)
    close = on[0].candles.close_time
    days = len(on[0].regime_1d)
    cuts = (int(close[24 * round(share * days) - 1]) for share in (_TRAIN, _VALIDATION))
    segments = {}
    for name in frames:
        own = [candles_at(m.candles, timeframe(name)) for m in on]
        truth = [m.regime if name == "1h" else m.regime_1d for m in on]
        segments[name] = tuple(Segmentation.of_bars(c, REGIMES, t.astype(np.int16)) for c, t in zip(own, truth, strict=True))
    return RegimeData(tuple(m.candles for m in on), REGIMES, segments, *cuts)


def shown(small: bool, frames: Sequence[str], seed: int) -> Scores:
    """Train one network on the labels of ``frames``, decode its chances, judge them."""
    from candelabra.models.segmenter import chances, network_chances
    from candelabra.training.decoder_choice import choose_decoder
    from candelabra.training.regime_fit import fit_regime_network, regime_training
    from candelabra.training.segmenter_fit import usual_bounds

    data = _data(small, frames)
    training = replace(regime_training(), steps=15) if small else regime_training()
    fit = fit_regime_network(data, training=training, seed=seed)
    told = [network_chances(fit.networks, fit.inputs, c) for c in data.candles]
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for name, labels in fit.heads.items():
        own = [candles_at(c, timeframe(name)) for c in data.candles]
        p = [
            chances("network", c, base, fit.inputs, one[name], name, len(labels))
            for c, base, one in zip(own, data.candles, told, strict=True)
        ]
        truth = [m.regime if name == "1h" else m.regime_1d for m in _markets(small)]
        stop = [int(np.searchsorted(c.close_time, data.validation_end_ms, "right")) for c in own]
        start = [int(np.searchsorted(c.close_time, data.train_end_ms, "right")) for c in own]
        learned = [
            data.codes(name, k, c.rows(slice(0, s)), data.validation_end_ms, labels)[0]
            for k, (c, s) in enumerate(zip(own, stop, strict=True))
        ]
        decoder, _ = choose_decoder(
            "markov", [x[:s] for x, s in zip(p, stop, strict=True)], learned, labels, fit.durations[name],
            bounds=usual_bounds(fit.durations[name]), start=start, powers=(0.1, 0.35, 1.0), tilts=(0.0, 0.3),
        )  # fmt: skip
        place = np.array([labels.index(word) if word in labels else -1 for word in REGIMES], np.int16)
        scores = [segment_scores(place[t[s:]], decoder.decode(x)[s:], labels=len(labels)) for t, x, s in zip(truth, p, stop, strict=True)]
        found[name] = {figure: np.array([getattr(one, figure) for one in scores]) for figure in FIGURES}
    return found


def _measure(small: bool) -> dict[str, Reading]:
    seeds = range(1 if small else SEEDS)
    joint = [shown(small, FRAMES, seed) for seed in seeds]
    apart = [{name: shown(small, (name,), seed)[name] for name in FRAMES} for seed in seeds]
    on = _markets(small)
    readings = {"": Reading(float(len(on)), "markets", digest(*(m.regime for m in on), *(m.candles.close for m in on), digits=6))}
    for name in FRAMES:
        for figure in FIGURES:
            ours, theirs = (np.mean([run[name][figure] for run in runs], axis=0) for runs in (joint, apart))
            d = difference_over_markets(ours, theirs)
            note = f"joint {ours.mean():.3f}, apart {theirs.mean():.3f}; [{d.low:+.3f}, {d.high:+.3f}] over {len(on)} markets: {d.words}"
            readings[f"{name}/{figure}"] = Reading(d.value, "points, joint over apart", note=note)
            readings[f"{name}/{figure} high"] = Reading(d.high, "upper end of the interval")
            readings[f"{name}/{figure} joint"] = Reading(float(ours.mean()), figure)
            readings[f"{name}/{figure} apart"] = Reading(float(theirs.mean()), figure)
    return readings


def _level(figure: str) -> Any:
    """0 or more where joint is at least level: its interval reaches 0 and it is not more than 0.01 behind."""
    return lambda v: min(v["candelabra"][figure] + 0.01, v["candelabra"][f"{figure} high"])


NESTED = Item(
    "regimes/nested",
    "simulated markets with regimes of hours inside regimes of days: one network with a head a timeframe beside one network each",
    {"candelabra": Tool(_measure, ("torch",))},
    tuple(Goal("candelabra", f"{name}/{figure}", _level(f"{name}/{figure}"), ">= 0") for name in FRAMES for figure in FIGURES),
    rounds=1,
    limit=7_200,
    in_small=False,
)
ITEMS = (NESTED,)

"""What one more candle costs the whole chain of a `SegmenterStream`: inputs, switching models, logistic model, network, decoders.

``python -m bench run regimes/stream``. Every source of chances and three timeframes are followed; weights are random, which costs as much
as trained ones. What is said is compared with what the whole history says before a time counts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from bench.item import Goal, Item, Reading, Tool
from bench.timing import digest
from candelabra.candles.timeframe import timeframe
from candelabra.models.regime_encoder import EncoderSettings
from candelabra.models.regime_inputs import candles_at
from candelabra.models.regime_logistic import fit_regime_logistic
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.models.segmenter import Segmenter, TimeframeReader
from candelabra.models.segmenter_stream import SegmenterStream
from candelabra.regimes.decoding import Decoder
from candelabra.testing.segmenters import example_regime_market, example_segmenter

_ENCODERS: Final[Mapping[str, EncoderSettings]] = {"convolution": TcnSettings(), "transformer": RegimeTransformerSettings()}


def _segmenter(network: EncoderSettings) -> Segmenter:
    """1h: mean of network and switching model; 4h: network; 12h: switching model; 1d: logistic regression."""
    made, market = example_segmenter(network=network, networks=1), example_regime_market()
    days = candles_at(market.candles, timeframe("1d"))
    place = np.searchsorted(market.candles.close_time, days.close_time)
    model = fit_regime_logistic([days], [market.regime[place].astype(np.int16)], 4)
    twelve = made.readers["12h"].decoder
    day = TimeframeReader("logistic", Decoder(replace(twelve.settings, kind="hysteresis", enter=0.3), twelve.labels, twelve.durations))
    return replace(made, inputs=replace(made.inputs, logistic={"1d": model}), readers={**made.readers, "1d": day})


def _followed(network: EncoderSettings, small: bool) -> tuple[np.ndarray, str]:
    """CPU milliseconds of each candle, and the digest of all labels; ValueError where the stream says another thing than the history."""
    segmenter, start, count = _segmenter(network), 1_000, 200 if small else 2_000
    candles = example_regime_market().candles.rows(slice(0, start + count))
    stream, took, told = SegmenterStream(segmenter, candles.rows(slice(0, start))), [], []
    for k in range(start, start + count):
        one = candles.rows(slice(k, k + 1))
        began = time.thread_time()
        told += stream.push(one)
        took.append(time.thread_time() - began)
    said = {name: [bar.label for bar in told if bar.timeframe == name] for name in segmenter.readers}
    for name, reading in segmenter.regimes(candles).items():
        if said[name] != reading.names[len(reading) - len(said[name]) :].tolist():
            raise ValueError(f"{name}: the stream does not say what the history says")
    return 1e3 * np.array(took), digest(
        *(np.array([segmenter.readers[name].decoder.labels.index(one) for one in own]) for name, own in said.items())
    )


def _run(small: bool) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    for name, network in _ENCODERS.items():
        took, sealed = _followed(network, small)
        for figure, percent in (("median", 50), ("p90", 90)):
            readings[f"{name}/{figure}"] = Reading(float(np.percentile(took, percent)), "CPU ms a candle", sealed)
    return {"": readings["convolution/median"], **readings}


def _own(figure: str) -> Any:
    return lambda v: v["candelabra"][figure]


STREAM = Item(
    "regimes/stream",
    "one more candle for the whole chain of a stream of regimes: four timeframes, every source, either encoder",
    {"candelabra": Tool(_run)},
    tuple(
        Goal("candelabra", f"{name}/{figure}", _own(f"{name}/{figure}"), "<= 1", absolute=True)
        for name in _ENCODERS
        for figure in ("median", "p90")
    ),
)
ITEMS = (STREAM,)

"""Regimes of real BTC, labelled with hindsight at 1h, 4h and 1d: the segmenter beside rule, HMM, LightGBM and majority.

``python -m bench run regimes/real``, or ``python -m bench.regime_real`` for the table. Minutes of 2021 to 2023 become hours; labels
come from `centred_window` and are learned from only where they were known in time. Train 60 %, validation 10 %, test the last 20 %. Real
candles come from ``CANDELABRA_DATA`` (else ``../shared/data`` beside the repository). Intervals are paired bootstraps over true segments.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from bench.item import Absent, Goal, Item, Reading, Tool, Values
from bench.timing import digest
from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import timeframe
from candelabra.evaluation.regimes import FEW_SEGMENTS, PRODUCT, TimeframeVerdict, judge_regimes
from candelabra.models.regime_inputs import candles_at
from candelabra.regimes.centred_window import CentredWindow
from candelabra.regimes.segmentation import REGIME_LABELS

__all__ = ["ITEMS", "verdicts"]

WINDOWS = {"1h": 48, "4h": 48, "1d": 20}
"""Bars of the labeller's window at each timeframe: two days, eight days, twenty days."""

YEARS = (2021, 2022, 2023)
RIVALS = ("trailing rule", "HMM, filtered")
_SHARES = (0.6, 0.1, 0.1, 0.2)


def minutes(year: int) -> Path:
    """The file of a year's minutes; `Absent` says what is missing."""
    given = os.environ.get("CANDELABRA_DATA")
    folder = (Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data") / "ohlcv"
    file = folder / f"binance_BTCUSDT_1m_{year}.parquet"
    if not file.is_file():
        raise Absent(f"real candles are not here: no {file} (set CANDELABRA_DATA to a folder that has ohlcv/)")
    return file


@cache
def hours(small: bool = False) -> Candles:
    """Hours of all years, or of the last alone."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(minutes(year)) for year in (YEARS[-1:] if small else YEARS)]
    stamps = np.concatenate([t["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64) for t in tables])
    columns = [np.concatenate([t[name].to_numpy() for t in tables]) for name in ("open", "high", "low", "close", "volume")]
    return resample(Candles.of("BTC/USDT", "1m", stamps, *columns), "1h")


def verdicts(candles: Candles, seed: int = 0, small: bool = False) -> dict[str, tuple[TimeframeVerdict, str]]:
    """What is said of the filtered segmenter at each timeframe, and the source and decoder that were chosen."""
    from candelabra.training.regime_fit import RegimeData, regime_training
    from candelabra.training.segmenter_fit import fit_segmenter

    names = [name for name in WINDOWS if name != "1d"] if small else list(WINDOWS)
    first, last = int(candles.close_time[0]), int(candles.close_time[-1])
    train, validation, test = (first + round(float(share) * (last - first)) for share in np.cumsum(_SHARES)[:-1])
    segments = {name: (CentredWindow(window=WINDOWS[name]).label(candles_at(candles, timeframe(name))),) for name in names}
    data = RegimeData((candles,), REGIME_LABELS, segments, train, validation)
    training = replace(regime_training(), steps=15) if small else regime_training()
    fit = fit_segmenter(data, training=training, seed=seed)
    told = fit.segmenter.regimes(candles)
    found = {}
    for name, labels in fit.network.heads.items():
        own = candles_at(candles, timeframe(name))
        learned = data.codes(name, 0, own, train, labels)[0][: int(np.searchsorted(own.close_time, train, "right"))]
        every = data.codes(name, 0, own, np.iinfo(np.int64).max - 1, labels)[0]
        truth = np.where(own.close_time > test, every, -1).astype(np.int16)
        shown = [(told[name].code, told[name].probabilities)]
        reader = fit.segmenter.readers[name]
        verdict = judge_regimes(name, labels, [own], [learned], [truth], shown, fit.network.durations[name])
        found[name] = verdict, f"{reader.source}, {reader.decoder.settings.kind}"
    return found


def _measure(small: bool) -> dict[str, Reading]:
    candles = hours(small)
    found = verdicts(candles, small=small)
    seal = digest(candles.close_time, candles.close, digits=6)
    readings = {"": Reading(float(sum(v.train_segments for v, _ in found.values())), "training segments", seal)}
    for name, (verdict, how) in found.items():
        few = "" if verdict.train_segments >= FEW_SEGMENTS else f"too few to prove anything (fewer than {FEW_SEGMENTS})"
        readings[f"{name}/train segments"] = Reading(float(verdict.train_segments), "segments", note=few)
        for row in verdict.rows:
            chosen = f"; {how}" if row.method == PRODUCT else ""
            note = f"covering {row.mean('covering'):.3f}, {row.mean('flips'):.0f} flips in 1,000 bars{chosen}"
            readings[f"{name}/{row.method}"] = Reading(row.mean("macro_f1"), "macro-F1", note=note)
        for rival, figure, d in verdict.differences:
            words = f"[{d.low:+.3f}, {d.high:+.3f}] over {verdict.test_segments} segments: {d.words}"
            readings[f"{name}/{figure} over {rival}"] = Reading(d.value, "points", note=words)
    return readings


def _least(rival: str, figure: str) -> Callable[[Values], float]:
    """The smallest difference at any timeframe that has segments enough; NaN, which reaches nothing, where none has."""

    def least(values: Values) -> float:
        ours, name = values["candelabra"], f"{figure} over {rival}"
        told = (ours[f"{tf}/{name}"] for tf in WINDOWS if ours.get(f"{tf}/train segments", 0) >= FEW_SEGMENTS and f"{tf}/{name}" in ours)
        return min(told, default=float("nan"))

    return least


REAL = Item(
    "regimes/real",
    "BTC 2021 to 2023 with hindsight labels at 1h, 4h, 1d: above rule and HMM in macro-F1 and covering where 100 segments teach it",
    {"candelabra": Tool(_measure, ("torch", "lightgbm", "hmmlearn"))},
    tuple(Goal("candelabra", f"1h/{f} over {r}", _least(r, f), ">= 0") for r in RIVALS for f in ("macro_f1", "covering")),
    rounds=1,
    in_small=False,
)
ITEMS = (REAL,)


def table(found: dict[str, tuple[TimeframeVerdict, str]]) -> str:
    """What `verdicts` found, for people."""
    lines = []
    for name, (verdict, how) in found.items():
        lines.append(f"{name}: {verdict.train_segments} training segments, {verdict.test_segments} judged; {how}")
        for row in verdict.rows:
            figures = (f"{figure} {row.mean(figure):.3f}" for figure in ("macro_f1", "covering", "flips", "delay_median"))
            lines.append(f"  {row.method:22} {'  '.join(figures)}")
        lines += [
            f"  {figure} over {rival}: {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] {d.words}" for rival, figure, d in verdict.differences
        ]
        lines += [f"  {note}" for note in verdict.notes]
    return "\n".join(lines)


def main() -> int:
    """``python -m bench.regime_real``."""
    try:
        print(table(verdicts(hours())))
    except Absent as absent:
        print(absent, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Automatic mutations of the catalog: 200 features and fits, each spoilt by one operator, for measuring what the audit catches.

Four families, as mistakes fall: ``shift`` (a row too far forward or back), ``window`` (a window on the wrong side of its bar),
``join`` (a coarser timeframe joined by the wrong key) and ``fit`` (constants from the wrong range). Chosen with a seed, none left out.
A mutant whose numbers are those of the original on every bar of the market is *equivalent*: nothing can tell the two apart, and it is
listed by name with the reason, not dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.evaluation.causality import audit, quietly
from candelabra.evaluation.findings import Audit
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.subjects import feature_subject, function_subject
from candelabra.evaluation.worlds import Market
from candelabra.features.catalog import compute, describe, parse
from candelabra.features.scaling import ScalerSettings, fit_scaler
from candelabra.features.talib_functions import FUNCTIONS
from candelabra.testing.markets import example_candles

__all__ = ["Mutant", "Outcome", "mutants", "try_mutant"]

Columns = dict[str, NDArray[np.float64]]
_COUNT: Final = 200
_BARS: Final = 1_400
_EFFORT: Final = Effort(moments=4, early=3, steps=3, positions=6, measured=2)


@dataclass(frozen=True)
class Mutant:
    """``spec`` spoilt by ``operator`` (of ``family``) with ``amount`` bars, hours or a range's name."""

    family: str
    operator: str
    spec: str
    amount: int

    @property
    def name(self) -> str:
        """How it is called in lists."""
        return f"{self.family}/{self.operator}({self.amount}) of {self.spec}"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: ``caught`` by a finding of the right law, or ``equivalent`` for a reason, or neither.

    ``measured``: whether the distance said is the one that was put in (None where none was: a whole series, a window of no fixed length).
    """

    mutant: Mutant
    caught: bool
    equivalent: str
    said: str
    measured: bool | None = None


def mutants(count: int = _COUNT, seed: int = 0) -> list[Mutant]:
    """The first ``count`` mutants of a shuffled list of all operators on all features, families in turn."""
    random = np.random.default_rng(seed)
    specs = [row["name"] for row in describe() if "fine" not in row["name"]] + [f"talib.{n}" for n in FUNCTIONS]
    by_family: dict[str, list[Mutant]] = {}
    for family, operators in _OPERATORS.items():
        every = [Mutant(family, o, s, a) for o, amounts in operators.items() for a in amounts for s in specs]
        by_family[family] = [every[k] for k in random.permutation(len(every))]
    chosen: list[Mutant] = []
    while len(chosen) < count:
        for family in by_family:
            chosen.append(by_family[family].pop())
    return chosen[:count]


def try_mutant(mutant: Mutant, seed: int = 0) -> Outcome:
    """Audit a mutant as its original would be; compare it with the original where nothing was found."""
    hours, market = _market()
    if mutant.family == "fit":
        found, same = _fit(mutant, hours)
    else:
        found, same = _column(mutant, hours, market, seed)
    law, bars = _due(mutant)
    told = [f for f in found.findings if f.law == law]
    said = "; ".join(f.words for f in (told or list(found.findings))[:2])
    measured = None if bars is None or not told else any(f.bars == bars for f in told)
    return Outcome(mutant, bool(told), "" if told else same, said, measured)


def _due(mutant: Mutant) -> tuple[str, int | None]:
    """The law that is broken, and by how many bars where the operator says so."""
    if mutant.family == "fit":
        return "fit", None
    if mutant.operator in ("rows behind", "a bar late"):
        own = _lag(mutant.spec)
        return "stale", own + (mutant.amount if mutant.operator == "rows behind" else 4)
    ahead = {"rows ahead": mutant.amount, "window centred": mutant.amount, "by open time": 4, "hours west": mutant.amount}
    bars = ahead.get(mutant.operator)
    return "future", bars - _lag(mutant.spec) if bars is not None and mutant.family != "join" else bars


def _lag(spec: str) -> int:
    return max(feature_subject([spec]).delays.values(), default=0)


@cache
def _market() -> tuple[Candles, Market]:
    hours = example_candles(bars=_BARS, seed=5, gaps=False)
    return hours, Market.of(hours)


def _column(mutant: Mutant, hours: Candles, market: Market, seed: int) -> tuple[Audit, str]:
    feature = parse(mutant.spec)
    spoil = _SPOILERS[mutant.operator]
    plain = feature_subject([feature])

    def mutated(candles: Candles) -> Columns:
        return spoil(candles, mutant.spec, mutant.amount)

    # judged as the original is: the same declared lags, the same rounding
    subject = function_subject(mutated, name=mutant.name, delays=plain.delays, rounding=1e-10)
    found = audit(subject, market, effort=_EFFORT, seed=seed)
    return found, _equivalence(mutant, mutated(hours), _original(mutant, hours))


def _original(mutant: Mutant, hours: Candles) -> Columns:
    if mutant.family == "join":
        return _joined(hours, mutant.spec, 0)
    return _table(hours, mutant.spec)


def _equivalence(mutant: Mutant, spoilt: Columns, original: Columns) -> str:
    """Why nothing can be found: the numbers are the original's, or constant; empty when they differ."""
    pairs = [(spoilt[k], original[k]) for k in original]
    if all(bool(((a == b) | (np.isnan(a) & np.isnan(b))).all()) for a, b in pairs):
        return "its numbers are those of the original on every bar"
    known = [(a[~np.isnan(a) & ~np.isnan(b)], b[~np.isnan(a) & ~np.isnan(b)]) for a, b in pairs]
    if all(bool(np.allclose(a, b, rtol=1e-9, atol=1e-12)) for a, b in known):
        return "its numbers are those of the original wherever both are known"
    if _calendar(mutant.spec):
        return "it reads the clock alone, and the clock's future is known: another hour is wrong, but no leak"
    return ""


def _calendar(spec: str) -> bool:
    return spec.partition("(")[0] in (
        "close_hour", "close_weekday", "target_hour", "target_weekday", "window_hours", "window_week", "window_weekend",
    )  # fmt: skip


def _table(candles: Candles, spec: str) -> Columns:
    table = compute(candles, [spec])
    return {n: table.values[:, k].astype(np.float64) for k, n in enumerate(table.names)}


def _moved_rows(columns: Columns, rows: int) -> Columns:
    """Every row gets the value of the row ``rows`` later (earlier when below 0)."""
    made = {}
    for name, values in columns.items():
        out = np.full(len(values), np.nan)
        if rows >= 0:
            out[: len(values) - rows] = values[rows:]
        else:
            out[-rows:] = values[:rows]
        made[name] = out
    return made


def _ahead(candles: Candles, spec: str, amount: int) -> Columns:
    return _moved_rows(_table(candles, spec), amount)


def _behind(candles: Candles, spec: str, amount: int) -> Columns:
    return _moved_rows(_table(candles, spec), -amount)


def _input_ahead(candles: Candles, spec: str, amount: int) -> Columns:
    """The feature of closes that are ``amount`` bars too new, in bars made wide enough to hold them."""
    close = np.append(candles.close[amount:], np.full(min(amount, len(candles)), candles.close[-1]))[: len(candles)]
    high, low = np.maximum(candles.high, close), np.minimum(candles.low, close)
    return _table(_with(candles, candles.open, high, low, close, candles.volume), spec)


def _forward_window(candles: Candles, spec: str, _amount: int) -> Columns:
    """The feature of the bars in reverse order, put back: its window begins at the bar instead of ending there."""
    values = [np.ascontiguousarray(v[::-1]) for v in candles.values()]
    turned = _table(_with(candles, *values), spec)
    return {n: v[::-1].copy() for n, v in turned.items()}


def _centred_window(candles: Candles, spec: str, amount: int) -> Columns:
    """A mean over ``amount`` rows before and after the feature's row."""
    made = {}
    for name, values in _table(candles, spec).items():
        out = np.full(len(values), np.nan)
        width = 2 * amount + 1
        if len(values) >= width:
            out[amount : len(values) - amount] = np.lib.stride_tricks.sliding_window_view(values, width).mean(axis=1)
        made[name] = out
    return made


def _joined(candles: Candles, spec: str, hours_early: int, key: str = "close", late: int = 0) -> Columns:
    """The feature of 4h bars, as of their close (or another key), at each hour."""
    four = resample(candles, "4h")
    table = _table(four, spec)
    stamps = (four.close_time if key == "close" else four.open_time) - hours_early * 3_600_000
    row = np.searchsorted(stamps, candles.close_time, "right") - 1 - late
    return {n: np.where(row >= 0, v[np.maximum(row, 0)], np.nan) if len(v) else np.full(len(row), np.nan) for n, v in table.items()}


def _fit(mutant: Mutant, hours: Candles) -> tuple[Audit, str]:
    """A scaler of the feature, fitted on rows that reach past train."""
    cut = int(0.6 * len(hours))
    rows = np.arange(cut)
    more = np.arange({"whole series": len(hours), "a little further": cut + mutant.amount, "test too": len(hours)}[mutant.operator])
    if mutant.operator == "test too":
        more = np.r_[rows, np.arange(int(0.8 * len(hours)), len(hours))]
    kinds = ("standard", "robust", "minmax")
    settings = ScalerSettings(kinds[mutant.amount % 3])  # type: ignore[arg-type]

    def fit_on(chosen: NDArray[np.int64]) -> Callable[[Any], Mapping[str, Any]]:
        def fit(world: Market) -> Mapping[str, Any]:
            table = compute(world.finest, [mutant.spec])
            fitted = fit_scaler(table.values, chosen, table.names, settings)
            return {"center": fitted.center, "scale": fitted.scale}

        return fit

    market = Market.of(hours)
    found = audit_fit(mutant.name, fit_on(more), market, int(hours.close_time[cut - 1]), seeds=1, measure=False, hearing=False)
    one, two = quietly(lambda: (fit_on(more)(market), fit_on(rows)(market)))
    if all(bool((np.asarray(one[k]) == np.asarray(two[k])).all()) for k in one):
        return found, "its constants are those of train rows: the extreme values, or all values, lie there"
    return found, "it reads the clock alone, which no scrambling of candles moves" if _calendar(mutant.spec) else ""


def _with(candles: Candles, *values: NDArray[np.float64]) -> Candles:
    c = candles
    return Candles.sealed(c.symbol, c.timeframe, c.open_time, list(values), c.missing, c.source, c.span, c.simulated)


_SPOILERS: Final[Mapping[str, Callable[[Candles, str, int], Columns]]] = {
    "rows ahead": _ahead,
    "rows behind": _behind,
    "closes ahead": _input_ahead,
    "window forward": _forward_window,
    "window centred": _centred_window,
    "by open time": lambda c, spec, _: _joined(c, spec, 0, "open"),
    "hours west": lambda c, spec, amount: _joined(c, spec, amount),
    "a bar late": lambda c, spec, amount: _joined(c, spec, 0, "close", amount),
}
_OPERATORS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "shift": {"rows ahead": (1, 2, 12), "rows behind": (1, 3), "closes ahead": (1, 4)},
    "window": {"window forward": (0,), "window centred": (1, 5)},
    "join": {"by open time": (0,), "hours west": (1, 3), "a bar late": (1,)},
    "fit": {"whole series": (0, 1, 2), "a little further": (30, 40, 50), "test too": (0, 1, 2)},
}

"""`Judge`: each forecast of a symbol meets its future, beside the bundle's baselines; what the newest of them were worth.

A forecast is judged when the bar in which its horizon ends has closed, by the targets that it was trained for, made of the candles that
came. What is kept is a loss a forecast; rolling figures are made of the newest ``window`` of them.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.live.journal import Journal
from candelabra.live.losses import COVERAGES, MEASURES, Losses
from candelabra.live.promise import Interval, Promise
from candelabra.live.rivals import Rival, losses
from candelabra.metrics.forecast import mean_loss, qlike, share
from candelabra.metrics.quantiles import covered, crps, pinball
from candelabra.metrics.significance import block_bootstrap
from candelabra.models.base import ModelOutput
from candelabra.windows.recipe import Recipe
from candelabra.windows.series import Series
from candelabra.windows.targets import make_targets

__all__ = ["Judge", "Rolling", "block_bars", "rolling", "warnings", "window_bars"]

WINDOW: Final = (720, 3000)
"""How many forecasts of a horizon rolling figures are made of: four weeks of bars, but so many at least and at most."""
_RESAMPLES: Final = 500
_LEAST: Final = 30
_WEEK_MS: Final = 7 * 86_400_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rolling:
    """Figures of the newest judged forecasts of one horizon.

    ``bars`` judged; ``pinball`` and ``qlike``: mean losses; ``skill`` by ``(measure, baseline)``: 1 - loss / the baseline's, with its 95 %
    block-bootstrap interval; ``coverage`` by nominal share, with a binomial interval for forecasts that overlap. ``sure``: there are
    enough of them for these intervals (four blocks, thirty that do not overlap): few look surer than they are.
    """

    horizon: str
    bars: int
    pinball: float
    qlike: float
    skill: Mapping[tuple[str, str], Interval]
    coverage: Mapping[float, Interval]
    sure: bool = False


class Judge:
    """The forecasts of one symbol that wait for their future; goes on from a journal."""

    def __init__(
        self,
        journal: Journal,
        symbol: str,
        recipe: Recipe,
        rivals: Sequence[Rival],
        variance_scale: Sequence[float],
        bundle: str,
        *,
        window: int | None = None,
        since_ms: int | None = None,
    ) -> None:
        """``variance_scale``: of the calibration of ``bundle`` (its id), whose forecasts alone are judged; ``since_ms``: earlier forecasts
        are left alone (they lie too far back).
        """
        self._journal, self.symbol, self._recipe, self._rivals = journal, symbol, recipe, tuple(rivals)
        self._scale, self._bundle = tuple(variance_scale), bundle
        self._horizons = tuple(h.name for h in recipe.horizons)
        size = window_bars(recipe.base) if window is None else window
        self.newest: dict[str, Losses] = {}
        self._waiting: dict[str, deque[tuple[int, dict[str, Any]]]] = {}
        for horizon in self._horizons:
            known = self.newest[horizon] = Losses(size, [rival.name for rival in self._rivals])
            for body in journal.newest_judged(symbol, horizon, size, bundle):
                known.add(body)
            low = -(1 << 62) if since_ms is None else since_ms
            self._waiting[horizon] = deque((at, _slim(json.loads(body))) for at, body in journal.unjudged(symbol, horizon, low, bundle))

    def add(self, as_of_ms: int, prediction: Mapping[str, Any]) -> None:
        """A forecast was made."""
        told = _slim(prediction)
        for horizon in self._horizons:
            self._waiting[horizon].append((as_of_ms, told))

    def meet(self, series: Series, now_ms: int) -> list[tuple[int, str, dict[str, Any]]]:
        """Judge every forecast whose horizon has ended by ``now_ms``, write it to the journal: ``(as_of_ms, horizon, losses)``.

        ``series``: what a follower holds at ``now_ms``. What lies before it, and what has no outcome, is noted as such and counts nowhere.
        """
        base = self._recipe.base
        due: list[tuple[int, int, dict[str, Any]]] = []
        for h, step in enumerate(self._recipe.steps):
            waiting = self._waiting[self._horizons[h]]
            while waiting and int(base.after(waiting[0][0], step)) <= now_ms:
                due.append((h, *waiting.popleft()))
        if not due:
            return []
        targets = make_targets(series, self._recipe)
        rows = np.searchsorted(series.close_time, [at for _, at, _ in due])
        inside = [r < len(series) and int(series.close_time[r]) == at for r, (_, at, _) in zip(rows, due, strict=True)]
        asked = np.unique([r for r, there in zip(rows, inside, strict=True) if there]).astype(np.int64)
        told = {one.name: one.outputs(series, asked) for one in self._rivals} if len(asked) else {}
        made = []
        for (h, at, said), row, there in zip(due, rows, inside, strict=True):
            actual = float(targets.returns[row, h]) if there else math.nan
            log_volatility = float(targets.log_volatility[row, h]) if there else math.nan
            body = self._judged(said, h, actual, log_volatility, told, int(np.searchsorted(asked, row)))
            known = int(base.after(at, self._recipe.steps[h]))
            self._journal.add_judged(self.symbol, at, self._horizons[h], known, body)
            if body["return"] is not None:
                self.newest[self._horizons[h]].add(body)
            made.append((at, self._horizons[h], body))
        return made

    def _judged(
        self, said: Mapping[str, Any], h: int, actual: float, log_volatility: float, told: Mapping[str, ModelOutput], at: int
    ) -> dict[str, Any]:
        if not math.isfinite(actual):
            return {"bundle": self._bundle, "return": None, "log_volatility": None}
        quantiles, y, levels = np.array([said["quantiles"][h]]), np.array([actual]), tuple(said["levels"])
        body: dict[str, Any] = {
            "bundle": self._bundle,
            "return": actual,
            "log_volatility": log_volatility,
            "crps": float(crps(quantiles, y, levels)[0]),
            "pinball": float(np.mean(pinball(quantiles, y, levels))),
            "qlike": float(qlike([log_volatility], [said["log_volatility"][h]], self._scale[h])[0]),
            "covered": {f"{c:g}": float(covered(quantiles, y, levels, c)[0]) for c in COVERAGES},
            "error": said["mean"][h] - actual,
            "rivals": {},
        }
        for rival in self._rivals:
            lost = losses(told[rival.name], at, h, actual, log_volatility, rival.calibration.variance_scale[h])
            body["rivals"][rival.name] = {k: _known(v) for k, v in lost.items()}
        return body | {name: _known(body[name]) for name in ("log_volatility", "qlike")}


def _known(value: float) -> float | None:
    """None where there is none: where half of a horizon's finer bars are absent, its return is known and its volatility is not."""
    return value if math.isfinite(value) else None


def window_bars(base: Timeframe) -> int:
    """How many forecasts rolling figures are made of.

    >>> window_bars(Timeframe("1h")), window_bars(Timeframe("15m")), window_bars(Timeframe("1m"))
    (720, 2688, 3000)
    """
    return int(min(max(4 * _WEEK_MS // base.milliseconds, WINDOW[0]), WINDOW[1]))


def block_bars(base: Timeframe) -> int:
    """Bars of a bootstrap block: a week, or a quarter of the window where that is shorter."""
    return int(max(1, min(_WEEK_MS // base.milliseconds, window_bars(base) // 4)))


def rolling(judged: Sequence[Losses], horizon: str, steps: int, block: int, *, resamples: int = _RESAMPLES) -> Rolling:
    """Figures of one horizon from judged forecasts of several symbols; ``steps``: the horizon in base bars.

    ``block``: bars of a bootstrap block (shortened to a quarter of what there is, which then makes no ``sure`` figures); the newest
    forecasts of all symbols stand side by side.
    """
    longest, bars = max((len(one) for one in judged), default=0), sum(len(one) for one in judged)
    if not bars:
        return Rolling(horizon, 0, math.nan, math.nan, {}, {}, False)
    skill = {}
    for measure in MEASURES:
        for name in sorted({name for one in judged for name in one.rivals}):
            table = np.zeros((longest, 2))
            for one in judged:
                pair = np.stack([one.column(measure), one.column(f"{measure} {name}")], axis=1)
                pair[np.isnan(pair.sum(axis=1))] = 0.0
                table[longest - len(one) :] += pair
            skill[measure, name] = _skill(table, max(1, min(block, longest // 4)), resamples) if longest >= _LEAST else _unknown()
    coverage = {}
    for nominal in COVERAGES:
        found = share(np.concatenate([one.column(f"{nominal:g}") for one in judged]), origins=max(longest / steps, 1.0))
        coverage[nominal] = Interval(found.value, found.value - 1.96 * found.standard_error, found.value + 1.96 * found.standard_error)
    means = [mean_loss(np.concatenate([one.column(name) for one in judged])) for name in ("pinball", "qlike")]
    return Rolling(horizon, bars, means[0], means[1], skill, coverage, longest >= max(4 * block, _LEAST * steps))


def warnings(found: Rolling, promise: Promise) -> list[str]:
    """In words, each live figure that has left what the evaluation promised: the two 95 % intervals have nothing in common.

    None before there are enough forecasts to be ``sure``.
    """
    said: list[str] = []
    if not found.sure:
        return said
    for (measure, name), live in found.skill.items():
        promised = promise.skill.get((found.horizon, measure, name))
        if promised is not None and live.apart(promised):
            what = "quantile loss" if measure == "crps" else "QLIKE"
            said.append(f"{found.horizon}: skill in {what} over {name} is {_words(live)} live, {_words(promised)} was promised")
    for nominal, live in found.coverage.items():
        promised = promise.coverage.get((found.horizon, nominal))
        if promised is not None and live.apart(promised):
            said.append(f"{found.horizon}: {100 * nominal:g} % intervals hold {_words(live)} live, {_words(promised)} was promised")
    return said


def _skill(table: Floats, block: int, resamples: int) -> Interval:
    def statistic(s: Floats) -> Floats:
        return np.asarray(1.0 - s[..., 0] / np.where(s[..., 1] > 0.0, s[..., 1], np.nan))

    found = block_bootstrap(statistic, table, block, resamples=resamples)
    return Interval(found.value, found.low, found.high)


def _unknown() -> Interval:
    return Interval(math.nan, math.nan, math.nan)


def _words(one: Interval) -> str:
    return f"{100 * one.value:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f})"


def _slim(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """What judging needs of a forecast."""
    return {name: prediction[name] for name in ("quantiles", "levels", "log_volatility", "mean")}

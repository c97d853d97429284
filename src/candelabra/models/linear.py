"""Linear volatility models: persistence, seasonal, EWMA, HAR, and HAR-X with the calendar of the target window.

Decisions: everything is linear in catalog features, per horizon. HAR-X is fitted *relative to the current volatility level*, with the
level as one more penalised term, so that ridge shrinks towards "nearly as volatile as now", which survives a shift of the level better
than a pull to the train mean; the strength of the ridge and the half-life of the sample weights are those of least mean loss over forward
folds inside train and validation (one validation range alone is too short to tell: it chose by luck).
Sources: Corsi 2009 (HAR), RiskMetrics 1996 (EWMA).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError
from candelabra.features.catalog import parse
from candelabra.models.base import FitData
from candelabra.models.tabular import columns
from candelabra.models.volatility import LinearVolatility
from candelabra.windows.recipe import spans

__all__ = ["HarxSettings", "ewma", "forward_folds", "har", "harx", "harx_features", "persistence", "seasonal", "stacked", "week_ago"]

Floats = NDArray[np.float64]


def persistence(data: FitData) -> LinearVolatility:
    """Realised volatility of the last day (or short span) goes on; nothing is fitted."""
    steps = data.targets[0].steps
    spec = f"log_rv({spans(data.series[0].base)[0]})"
    return LinearVolatility(0.5 * np.log(np.array(steps, np.float64)), tuple({spec: 1.0} for _ in steps))


def seasonal(data: FitData) -> LinearVolatility:
    """Realised volatility of the same hours a week ago (of the last horizon where a week has too few bars); nothing is fitted."""
    steps = data.targets[0].steps
    specs = [week_ago(data.series[0].base, step, 1) or f"log_rv({step})" for step in steps]
    return LinearVolatility(0.5 * np.log(np.array(steps, np.float64)), tuple({spec: 1.0} for spec in specs))


def ewma(data: FitData) -> LinearVolatility:
    """Exponentially weighted squared returns; half-life (per horizon) and bias chosen on train."""
    short, middle, _ = spans(data.series[0].base)
    half_lives = sorted({max(1, short // 4), max(1, short // 2), short, 2 * short, 3 * short, middle, 2 * middle})
    steps = data.targets[0].steps
    intercept, terms = np.zeros(len(steps)), []
    for h, step in enumerate(steps):
        best: tuple[float, str] | None = None
        for half_life in half_lives:
            spec = f"log_ewma_vol({half_life})"
            x, y, _ = stacked(data, "train", (spec,), h)
            error = y - x[:, 0]
            loss = float(np.var(error))
            if best is None or loss < best[0]:
                best, intercept[h] = (loss, spec), float(error.mean())
        assert best is not None, step
        terms.append({best[1]: 1.0})
    return LinearVolatility(intercept, tuple(terms))


def har(data: FitData) -> LinearVolatility:
    """Ordinary least squares on log realised volatility over a day, a week and 30 days (Corsi 2009), per horizon."""
    specs = tuple(f"log_rv({n})" for n in spans(data.series[0].base))
    steps = data.targets[0].steps
    intercept, terms = np.zeros(len(steps)), []
    for h in range(len(steps)):
        x, y, _ = stacked(data, "train", specs, h)
        design = np.column_stack([np.ones(len(x)), x])
        weights = np.linalg.lstsq(design, y, rcond=None)[0]
        intercept[h] = weights[0]
        terms.append(dict(zip(specs, weights[1:].tolist(), strict=True)))
    return LinearVolatility(intercept, tuple(terms))


_PERSISTENCE: Final = 0.8  # of a deviation of the level this much is expected to last; between 0.5 and 1 forward folds hardly tell


@dataclass(frozen=True)
class HarxSettings:
    """Grids to choose from: ``ridge`` strengths, and half-lives of the sample weights in days (0: all rows count alike)."""

    ridge: tuple[float, ...] = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
    half_life_days: tuple[float, ...] = (0.0, 730.0, 365.0)


def harx_features(base: Timeframe, step: int, fine: Sequence[str] = ()) -> tuple[str, ...]:
    """Features of HAR-X for one horizon: several spans, ranges, volume, calendar ahead.

    Returns, semivariance and the last weeks' same hours are left to the trees: a line they cost more than they gave on rows after its own.
    """
    short, middle, long = spans(base)
    quarter = max(2, short // 4)
    wanted = [f"rel_log_rv({n})" for n in sorted({quarter, short, 3 * short, middle, long})]
    wanted += [f"relative(log_ewma_vol({n}))" for n in (quarter, short)]
    wanted += [f"relative(log_parkinson({n}))" for n in (1, quarter, short, middle)]
    wanted += [f"rel_dollar_volume({quarter},{short})", f"rel_dollar_volume({short},{middle})"]
    wanted += [f"rel_fine_log_rv({tf},{n})" for tf in fine for n in (1, quarter, short, middle)]
    if 86_400_000 % base.milliseconds == 0 and base.milliseconds < 86_400_000:
        wanted += [*_channels("close_hour"), *_channels("close_weekday")]
        if step * base.milliseconds % 86_400_000:  # over whole days the daily waves cancel
            wanted += _channels(f"window_hours({step})")
    wanted += [*_channels(f"window_week({step})"), f"window_weekend({step})"]
    return tuple(dict.fromkeys(wanted))


def harx(data: FitData, settings: HarxSettings | None = None) -> LinearVolatility:
    """Ridge on `harx_features`, relative to the current level, per horizon; strength and half-life chosen on later rows than fitted."""
    grid = settings or HarxSettings()
    series, target = data.series[0], data.targets[0]
    fine = [n for n, c in series.candles.items() if c.timeframe < series.base]
    intercept, terms = np.zeros(len(target.steps)), []
    for h, step in enumerate(target.steps):
        specs = ("level", *harx_features(series.base, step, fine))
        x, y, time = stacked(data, "train", specs, h)
        xv, yv, _ = stacked(data, "validation", specs, h)
        y, yv = y - _PERSISTENCE * x[:, 0], yv - _PERSISTENCE * xv[:, 0]
        mean, scale = x.mean(0), np.maximum(x.std(0), 1e-9)
        z, zv = (x - mean) / scale, (xv - mean) / scale
        parts = [(z[a], y[a], time[a], z[b], y[b]) for a, b in forward_folds(time, step * series.base.milliseconds)]
        if len(yv):
            parts.append((z, y, time, zv, yv))
        losses = np.zeros((len(grid.half_life_days), len(grid.ridge)))
        for i, half_life in enumerate(grid.half_life_days):
            for zf, yf, tf, zt, yt in parts:
                solve = _ridge(zf, yf, _recency(tf, half_life))
                for k, strength in enumerate(grid.ridge):
                    constant, slopes = solve(strength)
                    losses[i, k] += float(np.mean((yt - constant - zt @ slopes) ** 2)) / max(float(np.var(yt)), 1e-12)
        i, k = divmod(int(np.argmin(losses)), len(grid.ridge))
        constant, slopes = _ridge(z, y, _recency(time, grid.half_life_days[i]))(grid.ridge[k])
        slopes = slopes / scale
        intercept[h] = constant - float(slopes @ mean)
        slopes[0] += _PERSISTENCE
        terms.append(dict(zip(specs, slopes.tolist(), strict=True)))
    return LinearVolatility(intercept, tuple(terms))


def forward_folds(time_ms: Floats, purge_ms: int, folds: int = 3, first: float = 0.55) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Row numbers (earlier, later) of folds inside train: fit on what closed by a date, judge on the stretch after it.

    The first date leaves the share ``first`` of the rows before it; ``purge_ms`` before each date is dropped. Few rows give no folds.
    """
    edges = np.quantile(time_ms, np.linspace(first, 1.0, folds + 1)) if len(time_ms) else np.zeros(0)
    found = []
    for low, high in pairwise(edges.tolist()):
        earlier = np.flatnonzero(time_ms + purge_ms <= low)
        later = np.flatnonzero((time_ms >= low) & (time_ms < high))
        if len(earlier) >= 500 and len(later) >= 100:
            found.append((earlier, later))
    return found


def _recency(time_ms: Floats, half_life_days: float) -> Floats:
    if not half_life_days:
        return np.ones(len(time_ms))
    return np.asarray(np.exp2((time_ms - time_ms.max()) / (half_life_days * 86_400_000)))


def stacked(data: FitData, part: str, specs: Sequence[str], horizon: int) -> tuple[Floats, Floats, Floats]:
    """Features ``(rows, specs)``, log volatility ``(rows,)`` and close times (ms) of a part over all symbols, unknown rows left out."""
    tables, answers, times = [], [], []
    for series, targets, rows in zip(data.series, data.targets, getattr(data, f"{part}_rows"), strict=True):
        x = columns(series, specs, rows).astype(np.float64)
        y = targets.log_volatility[rows, horizon]
        known = np.isfinite(x).all(1) & np.isfinite(y)
        tables.append(x[known])
        answers.append(y[known])
        times.append(series.close_time[rows][known].astype(np.float64))
    x, y, time = np.concatenate(tables), np.concatenate(answers), np.concatenate(times)
    if part == "train" and len(y) <= 2 * len(specs):
        raise DataError(
            f"{len(y)} training rows have every feature and a known target, too few to fit {len(specs)} numbers: give more candles "
            f"(features remember up to {max(parse(s).warm_up(data.series[0].base) for s in specs)} bars) or a larger train share"
        )
    return x, y, time


def _channels(spec: str) -> tuple[str, ...]:
    return parse(spec).names


def week_ago(base: Timeframe, step: int, weeks: int) -> str | None:
    """Volatility over the target window's own hours, some weeks before; None where a week is not a whole number of bars or too short."""
    week, rest = divmod(7 * 86_400_000, base.milliseconds)
    back = weeks * week - step
    if rest or step > week or weeks * week > 4 * spans(base)[1]:
        return None
    return f"lag(log_rv({step}),{back})" if back else f"log_rv({step})"


def _ridge(z: Floats, y: Floats, weight: Floats) -> Callable[[float], tuple[float, Floats]]:
    share = weight / weight.sum()
    centre, level = share @ z, float(share @ y)
    zc, yc = z - centre, y - level
    gram, moment = (zc * share[:, None]).T @ zc, zc.T @ (share * yc)

    def solve(strength: float) -> tuple[float, Floats]:
        slopes = np.linalg.solve(gram + strength * np.eye(len(gram)), moment)
        return level - float(slopes @ centre), slopes

    return solve

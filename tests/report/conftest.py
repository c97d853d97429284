"""A realistic `ReportInputs`: real BTC hours where they are present, a seeded random walk elsewhere; simple forecasts, truly computed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.report.inputs import (
    Calibration,
    CandleView,
    CausalityCheck,
    CloseView,
    Fan,
    FeatureRow,
    FeatureScore,
    Finding,
    LearningCurve,
    MetricColumn,
    Range,
    ReportInputs,
    ResultRow,
    RunFacts,
    SkillPanel,
    SkillPoint,
    SymbolQuality,
    VerdictRow,
    VolatilityView,
)

Floats = NDArray[np.float64]
HOUR = 3_600_000
LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
NORMAL = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])
HORIZONS = (1, 6, 24)


@dataclass(frozen=True)
class Hours:
    """Hourly columns."""

    symbol: str
    time: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats


def walk(symbol: str, bars: int = 6000, seed: int = 5) -> Hours:
    """A random walk with slowly changing volatility."""
    rng = np.random.default_rng(seed)
    level = np.exp(np.cumsum(rng.normal(0, 0.05, bars)) * 0.4)
    sd = 0.005 * np.clip(level / np.median(level), 0.3, 5)
    close = 27_000 * np.exp(np.cumsum(rng.normal(0, 1, bars) * sd))
    open_ = np.concatenate([[27_000.0], close[:-1]])
    reach = np.abs(rng.normal(0, 0.4, (2, bars))) * sd
    high, low = np.maximum(open_, close) * (1 + reach[0]), np.minimum(open_, close) * (1 - reach[1])
    return Hours(symbol, 1_680_000_000_000 // HOUR * HOUR + HOUR * np.arange(bars), open_, high, low, close)


def real_or_walk(symbol: str = "BTC/USDT") -> Hours:
    """The last 6,000 hours of BTC, else a walk."""
    given = os.environ.get("CANDELABRA_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"
    path = folder / "ohlcv" / "binance_BTCUSDT_1h.parquet"
    if not path.is_file():
        return walk(symbol)
    import pyarrow.parquet as pq

    t = pq.read_table(path)
    t = t.slice(len(t) - 6000)
    time = t["timestamp"].cast("timestamp[ms]").cast("int64").to_numpy()
    return Hours(symbol, time, *(t[name].to_numpy() for name in ("open", "high", "low", "close")))


def fill(hours: Hours, *, simulated: bool = False) -> ReportInputs:
    """Inputs for every section from one series."""
    rng = np.random.default_rng(11)
    n = len(hours.close)
    r = np.diff(np.log(hours.close), prepend=np.log(hours.close[0]))
    fast, slow = ewma(r**2, 24), ewma(r**2, 240)
    test = np.arange(n // 2, n - 24)
    views, closes, calibrations = [], [], []
    for h in HORIZONS:
        outcome = np.log(hours.close[test + h] / hours.close[test])
        drift = 0.02 * ewma(-r, 3)[test] * np.sqrt(h)
        scale = np.sqrt(h * (0.6 * fast + 0.4 * slow))[test]
        predicted = hours.close[test] * np.exp(drift)
        closes.append(
            CloseView(hours.symbol, f"{h}h", hours.time[test] + (h + 1) * HOUR, hours.close[test], hours.close[test + h], predicted)
        )
        calibrations.append(calibrate(f"{h}h", outcome, drift, scale, hours.time[test] + HOUR, h))
    realised = 0.5 * np.log(np.array([np.sum(r[t + 1 : t + 25] ** 2) for t in test]) + 1e-12)
    ours, base = 0.5 * np.log(24 * (0.5 * fast + 0.5 * slow)[test]), 0.5 * np.log(24 * fast[test])
    views.append(
        VolatilityView(
            hours.symbol, "24h", hours.time[test] + HOUR, realised, ours, base, "HAR-X + LightGBM", r2(realised, ours), r2(realised, base)
        )
    )
    return ReportInputs(
        run=RunFacts(
            symbols=(hours.symbol,),
            timeframes=("1h", "4h", "1d"),
            ranges=ranges(hours.time),
            model="ensemble (arms + HAR-X + LightGBM)",
            bundle_id="b3f1c9a27d04",
            seed=7,
            created_ms=1_704_103_200_000,
            version="0.1.0",
            simulated=simulated,
            trials=12,
            test_openings=1,
            summary="Volatility over the next day is forecast clearly better than by the best baseline. No skill found in returns.",
        ),
        verdict=(
            VerdictRow("Volatility, next 24h", "R²", 0.521, "HAR-X + LightGBM", 0.497, 0.024, 0.008, 0.041, 0.0042, "clearly better", ""),
            VerdictRow("Volatility, next 24h", "QLIKE", 0.2581, "HAR-X + LightGBM", 0.2702, 0.0447, 0.011, 0.078, 0.0081, "clearly better"),
            VerdictRow(
                "Return distribution, 1h", "CRPS", 0.001742, "HAR-X quantiles", 0.001763, 0.0119, 0.0071, 0.0168, 0.00001, "clearly better"
            ),
            VerdictRow("Return distribution, 24h", "CRPS", 0.00871, "LightGBM quantiles", 0.00869, -0.0023, -0.0101, 0.0061, 0.58, "level"),
            VerdictRow("Return, 1h", "MSE", 3.11e-5, "zero", 3.112e-5, 0.0006, -0.0011, 0.0024, 0.49, "level, no skill found"),
            VerdictRow("Return, 24h", "MSE", 7.91e-4, "zero", 7.81e-4, -0.0128, -0.0214, -0.0031, 0.009, "clearly worse"),
        ),
        candles=(candle_view(hours, fast, simulated),),
        closes=tuple(closes),
        volatility=tuple(views),
        skill=panels(simulated),
        calibration=tuple(calibrations),
        learning=tuple(curve(seed, rng) for seed in (1, 2, 3)),
        quality=tuple(quality(name, seed) for seed, name in enumerate((hours.symbol, "ETH/USDT", "LTC/USDT"))),
        findings=(
            Finding(hours.symbol, "1h", "warning", "gaps", 27, 1_518_047_999_999, "longest 33 bars: an outage of the exchange"),
            Finding(hours.symbol, "1h", "note", "zero volume", 3, 1_530_000_000_000, "first bars after an outage"),
            Finding("ETH/USDT", "1h", "note", "outliers", 14, 1_584_000_000_000, "moves above 12 median absolute deviations"),
        ),
        features=tuple(
            FeatureRow(f"{name}_{span}", tf, f"{text} over {span} bars", span, float(rng.normal(0, 0.1)), float(rng.uniform(0.2, 2)))
            for tf in ("1h", "4h", "1d")
            for name, text in (("return", "log return / current volatility"), ("range", "log(high / low) / current volatility"))
            for span in (1, 6, 24, 96)
        ),
        feature_scores=tuple(
            FeatureScore(f"feature_{i}", tf, "log volatility 24h", float(rng.normal(0, 0.3)), abs(float(rng.normal(0, 0.2))))
            for i in range(12)
            for tf in ("1h", "4h")
        ),
        causality=(
            CausalityCheck("Candles after t perturbed: nothing at or before t moves", True, "512 bars, 8 cut points, largest move 0"),
            CausalityCheck("Newest closed candle perturbed: the newest output moves", True, "64 shocks, 64 moved it"),
            CausalityCheck("Stream equals batch", None, "not run for this bundle"),
        ),
        limits=("Only one symbol was tested.",),
        metric_columns=(
            MetricColumn("r2", "Vol R²", "high", explanation="of log volatility"),
            MetricColumn("qlike", "QLIKE", "low"),
            MetricColumn("crps", "CRPS", "low"),
            MetricColumn("cover", "90 % cover", None, "percent"),
        ),
        results=tuple(ResultRow(model, role, hours.symbol, f"{h}h", figures(base, h)) for model, role, base in MODELS for h in HORIZONS),
        config_toml='[run]\nseed = 7\ntimeframes = ["1h", "4h", "1d"]\n\n[model]\nname = "ensemble"\n',
        versions={"python": "3.11.2", "numpy": "2.4.1", "torch": "2.13.0"},
        commands=("candelabra train --config config.toml", "candelabra evaluate runs/2024-01-01-ensemble/bundle"),
    )


def figures(base: float, h: int) -> dict[str, float]:
    return {"r2": base + 0.01 * h / 24, "qlike": 0.7 - base, "crps": 0.0018 * h**0.5 / (1 + base / 9), "cover": 0.9}


MODELS = (
    ("ensemble", "ours", 0.521),
    ("arms", "member", 0.497),
    ("HAR-X + LightGBM", "baseline", 0.497),
    ("LightGBM", "baseline", 0.478),
    ("HAR-X", "baseline", 0.419),
    ("HAR", "baseline", 0.258),
    ("GARCH(1,1)", "baseline", 0.187),
    ("EWMA", "baseline", 0.172),
)


def ewma(values: Floats, halflife: float) -> Floats:
    keep, out, state = 0.5 ** (1 / halflife), np.empty(len(values)), float(np.mean(values[:200]))
    for i, v in enumerate(values.tolist()):
        state = keep * state + (1 - keep) * v
        out[i] = state
    return out


def r2(actual: Floats, predicted: Floats) -> float:
    return float(1 - np.sum((actual - predicted) ** 2) / np.sum((actual - actual.mean()) ** 2))


def ranges(time: NDArray[np.int64]) -> tuple[Range, ...]:
    start, end = int(time[0]) - 20_000 * HOUR, int(time[-1]) + HOUR
    cuts = [start + round((end - start) * share) for share in (0, 0.6, 0.7, 0.8, 1)]
    names = ("train", "validation", "calibration", "test")
    return tuple(Range(name, a, b, (b - a) // HOUR) for name, a, b in zip(names, cuts[:-1], cuts[1:], strict=True))


def candle_view(hours: Hours, variance: Floats, simulated: bool) -> CandleView:
    tail = slice(len(hours.close) - 240, None)
    last = len(hours.close) - 1
    fans = []
    for back in (200, 160, 120, 90, 60, 30):
        t = last - back
        steps = np.array([1, 3, 6, 12, 24])
        prices = hours.close[t] * np.exp(np.sqrt(variance[t] * steps)[:, None] * NORMAL)
        origin = int(hours.time[t]) + HOUR
        fans.append(Fan(origin, float(hours.close[t]), origin + steps * HOUR, LEVELS, prices))
    regime = np.repeat([2, 0, 3, 1, 2], 48) if simulated else None
    ohlc = (hours.open[tail], hours.high[tail], hours.low[tail], hours.close[tail])
    return CandleView(hours.symbol, "1h", hours.time[tail], *ohlc, tuple(fans), regime, ("bullish", "bearish", "consolidation", "volatile"))


def calibrate(horizon: str, outcome: Floats, drift: Floats, scale: Floats, time: NDArray[np.int64], h: int) -> Calibration:
    z = (outcome - drift) / scale
    nominal = np.array([0.2, 0.5, 0.8, 0.9, 0.95])
    width = np.array([0.253, 0.674, 1.282, 1.645, 1.96])
    before = np.array([np.mean(np.abs(z) < w) for w in width])
    corrected = np.array([np.quantile(np.abs(z[: len(z) // 2]), q) for q in nominal])
    after = np.array([np.mean(np.abs(z) < w) for w in corrected])
    ranks = np.searchsorted(np.sort(z), z + 0.1 * np.sin(np.arange(len(z)))) / len(z)
    hit = (np.abs(z) < corrected[3]).astype(float)
    window = 500
    rolling = np.convolve(hit, np.ones(window) / window, "valid")
    return Calibration(
        horizon,
        nominal,
        after,
        np.sqrt(nominal * (1 - nominal) / (len(z) / h)),
        before,
        np.histogram(np.clip(ranks, 0, 1), 20, (0, 1))[0].astype(float),
        None,
        time[window - 1 :],
        rolling,
        0.9,
        "500 hours",
    )


def panels(simulated: bool) -> tuple[SkillPanel, ...]:
    def points(shift: float, horizons: tuple[str, ...], scale: float) -> tuple[SkillPoint, ...]:
        found = []
        for i, (model, role, base) in enumerate(MODELS):
            for k, horizon in enumerate(horizons):
                value = scale * (base + shift - 0.01 * k)
                found.append(SkillPoint(model, role, horizon, value, value - scale * 0.04, value + scale * (0.04 + 0.002 * i)))
        if simulated:
            found.append(SkillPoint("oracle", "oracle", horizons[0], scale * 0.72))
        return tuple(found)

    return (
        SkillPanel("Volatility R², next 24h", points(0, ("24h",), 1.0), "the mean of the test range", ""),
        SkillPanel("QLIKE skill, next 24h", points(-0.2, ("24h",), 0.5), "EWMA"),
        SkillPanel("CRPS skill of the return", points(-0.1, ("1h", "6h", "24h"), 0.1), "unconditional quantiles"),
        SkillPanel("MSE skill of the return", points(-0.5, ("1h", "6h", "24h"), 0.01), "the zero forecast"),
    )


def curve(seed: int, rng: np.random.Generator) -> LearningCurve:
    step = np.arange(1, 601)
    train = 0.55 + 1.2 * np.exp(-step / 40) - 0.00012 * step + rng.normal(0, 0.02, 600)
    at = np.arange(25, 601, 25)
    valid = 0.6 + 0.9 * np.exp(-at / 45) + 0.00000035 * (at - 330 - 20 * seed) ** 2 + rng.normal(0, 0.003, len(at))
    return LearningCurve(
        "arms", seed, step, train, at, valid, int(at[np.argmin(valid)]), "validation loss did not improve for 8 evaluations"
    )


def quality(symbol: str, seed: int) -> SymbolQuality:
    rng = np.random.default_rng(seed)
    months = tuple(f"{y}-{m:02d}" for y in range(2018, 2024) for m in range(1, 13))
    missing = np.where(rng.random(len(months)) < 0.2, rng.exponential(0.006, len(months)), 0)
    return SymbolQuality(symbol, "1h", 52_462, 27, 122, 33, 3, months, 1 - missing)


@pytest.fixture(scope="session")
def full_inputs() -> ReportInputs:
    """Real candles when present."""
    return fill(real_or_walk())


@pytest.fixture(scope="session")
def simulated_inputs() -> ReportInputs:
    return fill(walk("SIM-1"), simulated=True)


@pytest.fixture(scope="session")
def named() -> Callable[[str], ReportInputs]:
    """Inputs in which every user-given text is the one given."""
    return lambda text: fill(walk(text, bars=1200))

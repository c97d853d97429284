"""What a report is made of: plain arrays, numbers and texts, independent of how they were computed.

The pipeline fills these; the sections only draw them. Every part but :class:`RunFacts` may be left out (empty or None): its
section then says so or disappears. Times are int64 ms UTC, prices are in the quote currency, returns and volatilities are
logs as in `candelabra.windows.Targets`, fractions are 0..1, and a *skill* is positive when ours is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.report.regime_scores import RegimeScores
from candelabra.report.regime_view import RegimeView

__all__ = [
    "Calibration",
    "CandleView",
    "CausalityCheck",
    "CloseView",
    "Fan",
    "FeatureRow",
    "FeatureScore",
    "Finding",
    "LearningCurve",
    "MetricColumn",
    "Range",
    "ReportInputs",
    "ResultRow",
    "Role",
    "RunFacts",
    "SkillPanel",
    "SkillPoint",
    "SymbolQuality",
    "TradedSymbol",
    "TradingLine",
    "TradingView",
    "VerdictRow",
    "VolatilityView",
]

Floats: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]
Role: TypeAlias = Literal["ours", "member", "baseline", "oracle"]
"""``ours``: the product of this run; ``member``: a network or tree inside it; ``oracle``: knows the simulated market's truth."""


def _one_length(where: str, **columns: NDArray[Any] | None) -> None:
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        raise DataError(f"report: {where} has columns of different lengths {lengths}: give one value per row in each")


@dataclass(frozen=True)
class Range:
    """A named stretch of time: train, validation, calibration or test. ``bars`` counts base bars over all symbols."""

    name: str
    start_ms: int
    end_ms: int
    bars: int


@dataclass(frozen=True)
class RunFacts:
    """What was run. ``created_ms`` comes from the run, not from the clock, so that the same inputs give the same bytes."""

    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    """Base timeframe first; the page sorts the others by length."""
    ranges: tuple[Range, ...]
    model: str
    bundle_id: str
    seed: int
    created_ms: int
    version: str
    simulated: bool = False
    trials: int = 1
    """Configurations tried before this test range was opened."""
    test_openings: int = 1
    """How often this test range was looked at, this time included."""
    summary: str = ""
    """The verdict in one or two plain sentences."""


@dataclass(frozen=True)
class VerdictRow:
    """One line of the verdict table: ours against the best baseline.

    ``skill`` with its 95 % interval ``low .. high`` is the paired difference in our favour (above 0: ours is better), in ``unit``: ``"%"``
    (give 0.012 for 1.2 %) or ``""`` for a plain difference such as of R2; NaN where there is nothing to compare. ``words`` is the verdict
    in words, ``tone`` how it is coloured (None: by the interval), ``figures`` how ``ours`` and ``baseline_value`` are written.
    """

    what: str
    metric: str
    ours: float
    baseline: str
    baseline_value: float
    skill: float
    low: float
    high: float
    p_value: float | None
    words: str
    unit: Literal["%", ""] = "%"
    tone: Literal["better", "worse", "level"] | None = None
    figures: Literal["number", "percent"] = "number"


@dataclass(frozen=True, eq=False)
class Fan:
    """Forecast quantiles in prices, made at the close at ``origin_ms``.

    ``time_ms`` ``(horizons,)``: the close each horizon speaks of; ``levels`` ``(quantiles,)`` rising in (0, 1), 0.5 among them;
    ``prices`` ``(horizons, quantiles)``; ``price``: the close at the origin.
    """

    origin_ms: int
    price: float
    time_ms: Times
    levels: Floats
    prices: Floats

    def __post_init__(self) -> None:
        expected = (len(self.time_ms), len(self.levels))
        if self.prices.shape != expected:
            raise DataError(f"report: fan prices have shape {self.prices.shape}, expected (horizons, quantiles) = {expected}")


@dataclass(frozen=True, eq=False)
class CandleView:
    """The last few hundred test candles of one symbol, with forecasts from a few origins among them.

    ``regime`` int ``(bars,)`` indexes ``regime_names`` (the simulated market's truth; -1: none), or None.
    """

    symbol: str
    timeframe: str
    open_time_ms: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    fans: tuple[Fan, ...] = ()
    regime: NDArray[np.integer[Any]] | None = None
    regime_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_length(
            f"candles of {self.symbol} {self.timeframe}",
            open_time_ms=self.open_time_ms,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            regime=self.regime,
        )


@dataclass(frozen=True, eq=False)
class CloseView:
    """Median forecast of the close at one horizon against what came, over the test range.

    All ``(origins,)``: ``time_ms`` of the close spoken of, ``origin_close``, ``actual_close``, ``predicted_close``; returns follow as
    logs to ``origin_close``. ``band`` ``(origins, 2)``: two quantiles of the log return, of the levels ``band_levels``. Rows whose future
    is unknown (NaN) are dropped by the section.
    """

    symbol: str
    horizon: str
    time_ms: Times
    origin_close: Floats
    actual_close: Floats
    predicted_close: Floats
    band: Floats | None = None
    band_levels: tuple[float, float] = (0.05, 0.95)

    def __post_init__(self) -> None:
        _one_length(
            f"closes of {self.symbol} {self.horizon}",
            time_ms=self.time_ms,
            origin_close=self.origin_close,
            actual_close=self.actual_close,
            predicted_close=self.predicted_close,
            band=self.band,
        )


@dataclass(frozen=True, eq=False)
class VolatilityView:
    """Forecast and realised *log* volatility over one horizon, by time of origin (``time_ms``), all ``(origins,)``."""

    symbol: str
    horizon: str
    time_ms: Times
    realised: Floats
    ours: Floats
    baseline: Floats | None = None
    baseline_name: str = ""
    r2_ours: float | None = None
    r2_baseline: float | None = None

    def __post_init__(self) -> None:
        _one_length(
            f"volatility of {self.symbol} {self.horizon}",
            time_ms=self.time_ms,
            realised=self.realised,
            ours=self.ours,
            baseline=self.baseline,
        )


@dataclass(frozen=True)
class SkillPoint:
    """One model at one horizon: the value with its 95 % interval (None where there is none)."""

    model: str
    role: Role
    horizon: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SkillPanel:
    """One dot-and-whisker panel, e.g. volatility R2 or CRPS skill; ``reference`` says what 0 means.

    ``unit`` ``"%"`` shows 0.012 as 1.2 %. ``better``: which way is good (QLIKE as a loss is ``"low"``).
    """

    title: str
    points: tuple[SkillPoint, ...]
    reference: str = ""
    unit: Literal["%", ""] = "%"
    better: Literal["high", "low"] = "high"


@dataclass(frozen=True, eq=False)
class Calibration:
    """How often the intervals held, at one horizon of the return (all symbols together unless said in ``horizon``).

    ``nominal observed standard_error`` ``(levels,)``, fractions (``observed_before``: before conformal calibration, or None). The
    standard error counts about n / horizon independent origins. ``pit``: counts or densities ``(bins,)`` of the probability integral
    transform over [0, 1] (``pit_before``: before conformal calibration).
    ``rolling_time_ms rolling_coverage`` ``(points,)``: coverage of the ``rolling_nominal`` interval in a window moving over the test range.
    """

    horizon: str
    nominal: Floats
    observed: Floats
    standard_error: Floats
    observed_before: Floats | None = None
    pit: Floats | None = None
    pit_before: Floats | None = None
    rolling_time_ms: Times | None = None
    rolling_coverage: Floats | None = None
    rolling_nominal: float = 0.9
    rolling_window: str = ""

    def __post_init__(self) -> None:
        _one_length(
            f"calibration at {self.horizon}",
            nominal=self.nominal,
            observed=self.observed,
            standard_error=self.standard_error,
            observed_before=self.observed_before,
        )
        _one_length(f"rolling coverage at {self.horizon}", rolling_time_ms=self.rolling_time_ms, rolling_coverage=self.rolling_coverage)


@dataclass(frozen=True)
class TradingLine:
    """One line of a backtest's verdict, as text; ``tone`` is how it is coloured."""

    what: str
    figure: str
    interval: str
    words: str
    tone: Literal["better", "worse", "level"] = "level"


@dataclass(frozen=True, eq=False)
class TradedSymbol:
    """Closes ``time_ms close`` ``(bars,)`` of one symbol and the fills among them.

    ``fill_time_ms``, ``fill_price``, ``fill_kind`` ``(fills,)``: one of long, short, out, stop, take, liquidation.
    """

    symbol: str
    time_ms: Times
    close: Floats
    fill_time_ms: Times
    fill_price: Floats
    fill_kind: tuple[str, ...]

    def __post_init__(self) -> None:
        _one_length(f"trades of {self.symbol}", time_ms=self.time_ms, close=self.close)
        _one_length(f"fills of {self.symbol}", fill_time_ms=self.fill_time_ms, fill_price=self.fill_price, kind=np.array(self.fill_kind))


@dataclass(frozen=True, eq=False)
class TradingView:
    """A backtest: ``equity`` and ``hold`` ``(bars,)`` as multiples of the purse at ``time_ms``; ``exposure`` ``(bars,)`` over equity.

    ``rule``, ``origin`` (where the rule comes from) and ``costs``: words; ``figures``: ``(name, ours, buy-and-hold)``; ``cost_bps`` and
    ``cost_growth`` ``(costs,)`` with what was ``paid_bps``; ``chance`` ``(draws,)``: growth of the same positions at random times;
    ``months``: ``(month, ours, hold)``.
    """

    rule: str
    origin: str
    costs: str
    verdict: tuple[TradingLine, ...]
    time_ms: Times
    equity: Floats
    hold: Floats
    exposure: Floats
    symbols: tuple[TradedSymbol, ...]
    figures: tuple[tuple[str, str, str], ...]
    cost_bps: Floats
    cost_growth: Floats
    paid_bps: float
    chance: Floats
    growth: float
    months: tuple[tuple[str, float, float], ...]

    def __post_init__(self) -> None:
        _one_length("equity", time_ms=self.time_ms, equity=self.equity, hold=self.hold, exposure=self.exposure)
        _one_length("cost sweep", cost_bps=self.cost_bps, cost_growth=self.cost_growth)


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Losses of one training: ``train_step train_loss`` ``(m,)`` and ``validation_step validation_loss`` ``(k,)``."""

    name: str
    seed: int
    train_step: NDArray[np.int64]
    train_loss: Floats
    validation_step: NDArray[np.int64]
    validation_loss: Floats
    best_step: int
    stop_reason: str

    def __post_init__(self) -> None:
        _one_length(f"training curve {self.name} seed {self.seed}", train_step=self.train_step, train_loss=self.train_loss)
        _one_length(
            f"validation curve {self.name} seed {self.seed}", validation_step=self.validation_step, validation_loss=self.validation_loss
        )


@dataclass(frozen=True)
class Finding:
    """One finding of the quality check: what, how often, where first."""

    symbol: str
    timeframe: str
    severity: Literal["error", "warning", "note"]
    what: str
    count: int
    first_ms: int | None = None
    detail: str = ""


@dataclass(frozen=True, eq=False)
class SymbolQuality:
    """Completeness of one series. ``months`` like ``"2023-07"`` with the fraction of bars present ``coverage`` ``(months,)``."""

    symbol: str
    timeframe: str
    bars: int
    gaps: int
    missing_bars: int
    longest_gap_bars: int
    zero_volume_bars: int
    months: tuple[str, ...]
    coverage: Floats

    def __post_init__(self) -> None:
        if len(self.months) != len(self.coverage):
            raise DataError(f"report: {self.symbol} {self.timeframe} has {len(self.months)} months and {len(self.coverage)} coverages")


@dataclass(frozen=True)
class FeatureRow:
    """One input channel: where it comes from and how it was scaled on the train range."""

    name: str
    timeframe: str
    formula: str
    warmup: int
    centre: float | None = None
    scale: float | None = None


@dataclass(frozen=True)
class FeatureScore:
    """How much one feature says about one target, on the train range: rank or linear correlation, mutual information (nats)."""

    name: str
    timeframe: str
    target: str
    correlation: float
    mutual_information: float | None = None


@dataclass(frozen=True)
class CausalityCheck:
    """One check of the laws on this very run: ``passed`` None means not run."""

    what: str
    passed: bool | None
    detail: str = ""


@dataclass(frozen=True)
class MetricColumn:
    """A column of the full results: ``key`` in :attr:`ResultRow.values`, ``better`` None when neither way is good.

    ``style``: ``"number"``, ``"percent"`` (0.5 -> 50.0 %); ``places``: decimals, None for four significant digits or a percentage's one.
    """

    key: str
    title: str
    better: Literal["high", "low"] | None = None
    style: Literal["number", "percent"] = "number"
    explanation: str = ""
    places: int | None = None


@dataclass(frozen=True)
class ResultRow:
    """All figures of one model for one symbol (or ``"all"``) at one horizon; a missing key is shown as a dash."""

    model: str
    role: Role
    symbol: str
    horizon: str
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """Everything one report shows."""

    run: RunFacts
    verdict: tuple[VerdictRow, ...] = ()
    candles: tuple[CandleView, ...] = ()
    closes: tuple[CloseView, ...] = ()
    volatility: tuple[VolatilityView, ...] = ()
    skill: tuple[SkillPanel, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    trading: TradingView | None = None
    regimes: tuple[RegimeView, ...] = ()
    regime_scores: tuple[RegimeScores, ...] = ()
    learning: tuple[LearningCurve, ...] = ()
    quality: tuple[SymbolQuality, ...] = ()
    findings: tuple[Finding, ...] = ()
    features: tuple[FeatureRow, ...] = ()
    feature_scores: tuple[FeatureScore, ...] = ()
    causality: tuple[CausalityCheck, ...] = ()
    limits: tuple[str, ...] = ()
    """Limits of this very run, beyond the standing ones the page always prints."""
    metric_columns: tuple[MetricColumn, ...] = ()
    results: tuple[ResultRow, ...] = ()
    config_toml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    """Shell commands that reproduce this run, in order."""

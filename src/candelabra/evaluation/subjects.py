"""Subjects of everything candelabra has: features, scalers, labels, models, bundles, decision rules, and functions of your own."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.evaluation.answers import Answer, as_answer
from candelabra.evaluation.subject import LAWFUL, Subject
from candelabra.evaluation.worlds import WAYS, Arrays, Market, World
from candelabra.features.catalog import compute, compute_tail, parse
from candelabra.features.kind import Feature
from candelabra.features.scaling import Scaler
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.regimes.labeller import Labeller
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.series import Series
from candelabra.windows.targets import candle_targets

__all__ = [
    "FrameKind",
    "Rule",
    "as_feature",
    "bundle_subject",
    "code_of",
    "feature_subject",
    "function_subject",
    "label_subject",
    "labeller_subject",
    "model_subject",
    "output_columns",
    "rule_subject",
    "scaler_subject",
    "series_subject",
]

FrameKind = Literal["candles", "pandas", "polars", "pyarrow", "arrays"]
_ROUNDING = 1e-10
"""What a function of your own may move by: a transform over the whole history (an FFT) rounds by its other end, and that is no leak."""


class Rule(Protocol):
    """A decision rule as an audit sees it: arrays ``(rows, ...)`` known at each close in, positions ``(rows,)`` out."""

    def __call__(self, arrays: Mapping[str, NDArray[Any]], /) -> Any:
        """The position to hold after each row."""
        ...


def feature_subject(specs: Sequence[str | Feature], timeframe: str | None = None, name: str = "") -> Subject:
    """Features of one timeframe of a market (its longest by default), finer candles given where a feature reads them."""
    features = [parse(s) for s in specs]
    memory = {n: f for f in features for n in f.names}

    def frames(world: World) -> tuple[Candles, dict[str, Candles]]:
        candles = _market(world).candles
        own = timeframe or max(candles, key=lambda n: candles[n].timeframe)
        return candles[own], {n: c for n, c in candles.items() if c.timeframe < candles[own].timeframe}

    def answer(world: World) -> Answer:
        candles, fine = frames(world)
        return _table(compute(candles, features, fine=fine), candles)

    def tail(world: World) -> Answer:
        candles, fine = frames(world)
        return _table(compute_tail(candles, features, fine=fine), candles.rows(slice(len(candles) - 1, None)))

    delays = {n: _delay(f) for n, f in memory.items()}
    versions = hashlib.sha256("|".join(f"{f.spec}@{f.kind.version}" for f in features).encode()).hexdigest()
    title = name or (features[0].spec if len(features) == 1 else f"{len(features)} features")
    return Subject(title, answer, delays=delays, tail=tail, code=versions)


def as_feature(given: Any) -> Feature:
    """A feature from its spec, itself, or a kind with its default arguments."""
    if isinstance(given, str | Feature):
        return parse(given)
    arguments = tuple(parse(p.default) if p.type == "feature" else p.default for p in given.parameters)
    return Feature(given, arguments)


def _delay(feature: Feature) -> int:
    """By how many bars a feature lags by its own name: ``lag(return(1),3)`` by three."""
    inner = [a for a in feature.arguments if isinstance(a, Feature)]
    if feature.kind.name == "lag":
        return int(feature.arguments[1]) + _delay(inner[0])
    return _delay(inner[0]) if feature.kind.name == "difference" else 0


def _table(table: Any, candles: Candles) -> Answer:
    return Answer.of(candles.close_time, dict(zip(table.names, np.asarray(table.values, np.float64).T, strict=True)))


def scaler_subject(scaler: Scaler, specs: Sequence[str | Feature], timeframe: str | None = None) -> Subject:
    """Scaled features: a fitted scaler may change nothing about when they are known."""
    plain = feature_subject(specs, timeframe)

    def answer(world: World) -> Answer:
        table = plain.answer(world)
        scaled = scaler.transform(table.values.astype(np.float32))
        return Answer(table.time_ms, table.names, scaled.astype(np.float64), table.known_ms)

    # clipping hides shocks to single bars and scaling delays nothing: freshness is the features' own matter
    return Subject(f"scaler ({scaler.settings.kind}) of {plain.name}", answer, fresh="any", code=plain.code)


def series_subject(recipe: Recipe, name: str = "series") -> Subject:
    """What a model sees at each base bar: features of every timeframe, placed as of the close through the as-of index."""

    def answer(world: World) -> Answer:
        series = build_series(_market(world).candles, recipe)
        columns: dict[str, NDArray[np.float64]] = {"level": series.level}
        for tf, table in series.features.items():
            rows = np.arange(len(series)) if tf == series.base.name else series.asof[tf].astype(np.int64)
            placed = np.where(rows[:, None] >= 0, table.values[np.maximum(rows, 0)], np.nan)
            columns |= {f"{tf}: {n}": placed[:, k].astype(np.float64) for k, n in enumerate(table.names)}
        return Answer.of(series.close_time, columns)

    return Subject(name, answer)


def label_subject(recipe_or_horizons: Recipe | Sequence[str], name: str = "targets") -> Subject:
    """Targets over some horizons: each may read until its ``known_at``, and no further."""

    def answer(world: World) -> Answer:
        candles = _market(world).finest
        horizons = recipe_or_horizons.horizons if isinstance(recipe_or_horizons, Recipe) else recipe_or_horizons
        made = candle_targets(candles, horizons)
        columns = {f"return({h})": made.returns[:, k] for k, h in enumerate(made.horizons)}
        columns |= {f"log_volatility({h})": made.log_volatility[:, k] for k, h in enumerate(made.horizons)}
        return Answer.of(candles.close_time, columns, np.concatenate([made.known_at, made.known_at], axis=1))

    return Subject(name, answer, fresh="no")


def labeller_subject(labeller: Labeller) -> Subject:
    """Hindsight labels bar by bar: each may read until the ``known_at`` of its segment, and no further.

    A labeller that reads the whole series says nothing about candles behind its end, so none are added there.
    """

    def answer(world: World) -> Answer:
        candles = _market(world).finest
        bars = labeller.label(candles).on(candles)
        return Answer.of(candles.close_time, {"label": np.where(bars.code < 0, np.nan, bars.code)}, bars.known_at)

    ways = tuple(w for w in LAWFUL if w != "append") if labeller.reach.whole else LAWFUL
    return Subject(f"labeller {labeller.name}", answer, ways, fresh="no", code=code_of(type(labeller)))


def output_columns(output: ModelOutput, horizons: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """A forecast as columns: mean, log volatility and each quantile of each horizon."""
    columns: dict[str, NDArray[np.float64]] = {}
    for k, h in enumerate(horizons):
        columns[f"mean({h})"] = output.mean[:, k].astype(np.float64)
        columns[f"log_volatility({h})"] = output.log_volatility[:, k].astype(np.float64)
        for j, level in enumerate(output.levels):
            columns[f"quantile({h},{level:g})"] = output.quantiles[:, k, j].astype(np.float64)
    return columns


def model_subject(model: FittedModel, recipe: Recipe, world: World, rows: int = 120, *, alone: bool = True) -> Subject:
    """The newest ``rows`` forecasts of a fitted model for ``world``, from candles to output (its own features, alignment and scalers).

    A model that says ``responds = False`` is not asked to be fresh. Freshness asks any output: a mean shrunk to zero hears of nothing.
    """
    series = build_series(_market(world).candles, recipe)
    watched = series.close_time[-rows:]
    horizons = [h.name for h in recipe.horizons]

    def answer(changed: World) -> Answer:
        made = build_series(_market(changed).candles, recipe)
        picked = np.flatnonzero(np.isin(made.close_time, watched))
        return Answer.of(made.close_time[picked], output_columns(model.predict(made, picked), horizons))

    responds = bool(getattr(model, "responds", True))
    return Subject(f"model {model.name}", answer, fresh="any" if responds and alone else "no")


def bundle_subject(predictor: Predictor, watched: NDArray[np.int64]) -> Subject:
    """Calibrated forecasts of an opened bundle at the closes ``watched`` (ms), and its forecast from cut candles as their tail."""
    names = predictor.manifest.horizons

    def answer(changed: World) -> Answer:
        made: Series = predictor.series(list(_market(changed).candles.values()))
        picked = np.flatnonzero(np.isin(made.close_time, watched))
        return Answer.of(made.close_time[picked], output_columns(predictor.outputs(made, picked), names))

    def tail(cut: World) -> Answer:
        said = predictor.forecast(list(_market(cut).candles.values()))[0]
        table = ModelOutput(np.array([said.quantiles]), np.array([said.mean]), np.array([said.log_volatility]), said.levels)
        return Answer.of(np.array([said.as_of_ms]), output_columns(table, names))

    fresh: Literal["any", "no"] = "any" if getattr(predictor.model, "responds", True) else "no"
    return Subject(f"bundle {predictor.manifest.id}", answer, fresh=fresh, tail=tail)


def rule_subject(rule: Rule, name: str = "", *, column: str = "position") -> Subject:
    """A decision rule over `Arrays`: positions at or before a row must not hear of what becomes known later.

    Whether a rule hears of the newest row at once depends on its thresholds and bands: any of its outputs, under large shocks.
    """

    def answer(world: World) -> Answer:
        if not isinstance(world, Arrays):
            raise UsageError("a decision rule is audited on arrays: give Arrays(time_ms, {name: array})")
        out = rule(world.values)
        if isinstance(out, Mapping):
            return Answer.of(world.time_ms, {str(k): np.asarray(v) for k, v in out.items()})
        table = np.asarray(out).reshape(len(world.time_ms), -1)
        names = [column] if table.shape[1] == 1 else [f"{column}[{k}]" for k in range(table.shape[1])]
        return Answer.of(world.time_ms, {n: table[:, k] for k, n in enumerate(names)})

    return Subject(name or _name_of(rule), answer, rounding=_ROUNDING, fresh="any", code=code_of(rule), ways=WAYS)


def function_subject(
    function: Callable[..., Any],
    *,
    name: str = "",
    given: FrameKind | None = None,
    fresh: Literal["each", "any", "no"] = "each",
    delays: Mapping[str, int] | None = None,
    warm_up: int | None = None,
    rounding: float = _ROUNDING,
    timeframe: str | None = None,
) -> Subject:
    """A function of your own: candles in (as `Candles`, a pandas, polars or pyarrow frame, or a dict of arrays), one row a bar out.

    ``given``: what it takes; default: what its first parameter is annotated with, else `Candles`. A function annotated with a mapping gets
    all timeframes by name, every other the one called ``timeframe`` (default: the finest). ``delays``: bars by which a column lags on
    purpose. ``warm_up``: bars it needs before a bar; when given, each value must follow from that many alone.
    """
    kind, several = _takes(function)
    chosen = given or kind

    def answer(world: World) -> Answer:
        market = _market(world)
        own = market.candles[timeframe] if timeframe else market.finest
        if several:
            return as_answer(function({n: door(c, chosen) for n, c in market.candles.items()}), own)
        return as_answer(function(door(own, chosen)), own)

    def tail(world: World) -> Answer:
        last = int(world.times[-1])
        return answer(world.since((warm_up or 0) + 1, last))

    ways = WAYS if chosen != "candles" else LAWFUL
    return Subject(
        name or _name_of(function), answer, ways, rounding, fresh=fresh, delays=dict(delays or {}),
        tail=None if warm_up is None else tail, code=code_of(function),
    )  # fmt: skip


def door(candles: Candles, kind: FrameKind) -> Any:
    """Candles as somebody else's frame: columns ``open_time`` (UTC), ``open`` .. ``volume`` and ``close_time``; UsageError when absent."""
    if kind == "candles":
        return candles
    if kind == "arrays":
        arrays: dict[str, Any] = {"open_time": candles.open_time.copy(), "close_time": candles.close_time.copy()}
        return arrays | {n: np.array(getattr(candles, n)) for n in ("open", "high", "low", "close", "volume")}
    table = candles.to_arrow().drop_columns(["missing"])
    if kind == "pyarrow":
        return table
    import narwhals as nw

    frame = nw.from_native(table, eager_only=True)
    try:
        return frame.to_pandas() if kind == "pandas" else frame.to_polars()
    except ImportError as error:
        raise UsageError(f"{kind} is not installed here: pip install {kind}, or audit a function that takes another frame") from error


def _takes(function: Callable[..., Any]) -> tuple[FrameKind, bool]:
    """What a function's first parameter is annotated with, and whether it takes several timeframes by name."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return "candles", False
    if not parameters:
        raise UsageError(f"{_name_of(function)} takes nothing: an audited function takes candles or a frame as its first parameter")
    note = parameters[0].annotation
    words = note if isinstance(note, str) else f"{getattr(note, '__module__', '')}.{getattr(note, '__qualname__', '')} {note}"
    several = any(w in words for w in ("Mapping", "dict", "Dict")) and "ndarray" not in words and "NDArray" not in words
    kinds: tuple[tuple[str, FrameKind], ...] = (
        ("pandas", "pandas"), ("pd.", "pandas"), ("polars", "polars"), ("pl.", "polars"), ("pyarrow", "pyarrow"), ("pa.", "pyarrow"),
        ("ndarray", "arrays"), ("NDArray", "arrays"), ("Candles", "candles"),
    )  # fmt: skip
    kind = next((k for sign, k in kinds if sign in words), None)
    if kind is None:
        kind = "pandas" if parameters[0].name in ("df", "frame", "dataframe") else "candles"
    return kind, several


def code_of(function: Any) -> str:
    """sha256 of the file a function is written in, and its name; of its name alone where there is no file."""
    name = _name_of(function)
    try:
        path = inspect.getsourcefile(inspect.unwrap(function)) or ""
        text = Path(path).read_bytes()
    except (TypeError, OSError):
        text = b""
    return hashlib.sha256(name.encode() + b"\0" + text).hexdigest()


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _market(world: World) -> Market:
    if not isinstance(world, Market):
        raise UsageError("this reads candles: audit it on Market.of(candles)")
    return world


def bars_in(market: Market, timeframe: str, bars: int) -> int:
    """How many bars of a market's finest timeframe are as long as ``bars`` of another."""
    return -(-bars * Timeframe(timeframe).milliseconds // market.finest.timeframe.milliseconds)

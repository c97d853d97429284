"""What an evaluation says: figures with intervals, comparisons with trials behind them; plain data that goes to JSON and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from candelabra.errors import DataError
from candelabra.metrics.significance import Words, adjusted_p_value

__all__ = ["Comparison", "Evaluation", "Figure", "Measure", "ModelFigures", "RowCount"]

Measure = Literal["mse", "mae", "crps", "r2", "qlike"]


@dataclass(frozen=True)
class Figure:
    """A figure of quality; ``standard_error`` and the 95 % interval ``low``..``high`` are NaN where none is given."""

    value: float
    standard_error: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class ModelFigures:
    """All figures of one model at one horizon.

    ``figures`` by name: ``mae mse rmse mape mase direction ic rank_ic`` (mean return), ``crps pinball coverage_50|80|90|98 width_90``
    (quantiles), ``r2 qlike`` (volatility); a name is absent where the model does not forecast it. ``pit``: shares of ten bins, empty
    without quantiles. Returns are log returns, ``mape`` and coverages fractions.
    """

    model: str
    horizon: str
    figures: dict[str, Figure]
    pit: tuple[float, ...] = ()

    def __getitem__(self, name: str) -> Figure:
        return self.figures[name]

    def __contains__(self, name: object) -> bool:
        return name in self.figures


@dataclass(frozen=True)
class Comparison:
    """One model against one baseline by one measure; positive ``value`` is better.

    ``value``: for ``r2`` the difference of R2, else the skill 1 - loss / baseline's loss. ``low``..``high``: 95 % paired block-bootstrap
    interval; ``p_value`` from the same resamples, ``dm_p_value`` Diebold-Mariano; ``trials``: how many tries this range has seen.
    """

    model: str
    baseline: str
    horizon: str
    measure: Measure
    value: float
    low: float
    high: float
    p_value: float
    dm_p_value: float
    words: Words
    trials: int

    @property
    def adjusted_p_value(self) -> float:
        """The bootstrap p-value after ``trials`` tries (Šidák)."""
        return adjusted_p_value(self.p_value, self.trials)


@dataclass(frozen=True)
class RowCount:
    """Rows judged at one horizon for one subject (``return``, ``quantiles``, ``volatility``), the same for all models.

    ``given``: rows asked for; ``no_outcome``: their future is absent; ``not_ready``: by model, rows it had no forecast for (left out
    for every model); ``used``: judged. ``independent``: non-overlapping origins among them; symbols at the same bar count once.
    """

    horizon: str
    subject: str
    given: int
    no_outcome: int
    not_ready: dict[str, int]
    used: int
    independent: float


@dataclass(frozen=True)
class Evaluation:
    """The judgement of several models on the same rows."""

    symbols: tuple[str, ...]
    horizons: tuple[str, ...]
    start_ms: int
    end_ms: int
    models: tuple[ModelFigures, ...]
    comparisons: tuple[Comparison, ...]
    rows: tuple[RowCount, ...]
    up_share: dict[str, float]
    block_bars: int
    resamples: int
    seed: int
    trials: int
    notes: tuple[str, ...] = ()

    def of(self, model: str, horizon: str) -> ModelFigures:
        """Figures of ``model`` at ``horizon``. Raises DataError for an unknown pair."""
        for found in self.models:
            if found.model == model and found.horizon == horizon:
                return found
        known = ", ".join(sorted({m.model for m in self.models}))
        raise DataError(f"this evaluation has no model {model!r} at horizon {horizon!r}: it has {known} at {', '.join(self.horizons)}")

    def compare(self, model: str, baseline: str, horizon: str, measure: Measure) -> Comparison | None:
        """The comparison of two models, None when one of them does not forecast it."""
        for found in self.comparisons:
            if (found.model, found.baseline, found.horizon, found.measure) == (model, baseline, horizon, measure):
                return found
        return None

    def best(self, names: tuple[str, ...], horizon: str, measure: Measure) -> str | None:
        """Which of ``names`` is best by ``measure`` on these rows (the strictest choice of a baseline), None when none forecasts it."""
        there = [(m[measure].value, m.model) for m in self.models if m.horizon == horizon and m.model in names and measure in m]
        there = [pair for pair in there if not math.isnan(pair[0])]
        if not there:
            return None
        return (max if measure == "r2" else min)(there)[1]

    def row_count(self, horizon: str, subject: str) -> RowCount | None:
        """How many rows were judged at ``horizon`` for ``subject``."""
        return next((r for r in self.rows if r.horizon == horizon and r.subject == subject), None)

    def table(self) -> Iterator[dict[str, str | float]]:
        """One flat row per figure: ``model, horizon, figure, value, standard_error, low, high``."""
        for model in self.models:
            for name, figure in model.figures.items():
                yield {"model": model.model, "horizon": model.horizon, "figure": name, **asdict(figure)}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: NaN and infinities become None."""
        return cast(dict[str, Any], _plain(asdict(self)))

    def to_json(self) -> str:
        """JSON text of `as_dict`."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Evaluation:
        """Read what `to_json` wrote. Raises DataError for anything else."""
        try:
            data = json.loads(text)
            return Evaluation(
                symbols=tuple(data["symbols"]),
                horizons=tuple(data["horizons"]),
                start_ms=int(data["start_ms"]),
                end_ms=int(data["end_ms"]),
                models=tuple(_model(m) for m in data["models"]),
                comparisons=tuple(Comparison(**_numbers(c)) for c in data["comparisons"]),
                rows=tuple(RowCount(**r) for r in data["rows"]),
                up_share=_numbers(data["up_share"]),
                block_bars=int(data["block_bars"]),
                resamples=int(data["resamples"]),
                seed=int(data["seed"]),
                trials=int(data["trials"]),
                notes=tuple(data["notes"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"this is not an evaluation ({type(error).__name__}: {error}): run the evaluation again") from error


def _model(data: dict[str, Any]) -> ModelFigures:
    figures = {name: Figure(**_numbers(figure)) for name, figure in data["figures"].items()}
    return ModelFigures(data["model"], data["horizon"], figures, tuple(data["pit"]))


def _numbers(data: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in data.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value

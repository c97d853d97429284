"""Training LightGBM: directly on the tabular features, and on the residual of HAR-X (the strongest rival known).

Decisions: a booster per horizon of log volatility, relative to an anchor (the current level, or HAR-X); columns are level-free and
include all the network sees (its base features, those of coarser timeframes as-of, fine volatility, calendar of the target window);
the number of rounds is that of least mean loss over validation and forward folds inside train (validation alone stopped by luck); one
thread and deterministic histograms, so that the same seed gives the same trees. Return quantiles: train quantiles standardised by
HAR-X's volatility (trees know the train rows too well) times the trees' volatility. Inference: `trees`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.catalog import parse
from candelabra.models import linear
from candelabra.models.base import FitData
from candelabra.models.baselines import FittedBaseline, load, scaled_baseline
from candelabra.models.tabular import columns, network_columns
from candelabra.models.trees import TreeVolatility, trees_to_onnx
from candelabra.models.volatility import LinearVolatility
from candelabra.windows.recipe import spans

__all__ = ["HarxLightGbm", "LightGbm", "LightGbmSettings", "load", "tabular_features", "tune_lightgbm"]


@dataclass(frozen=True)
class LightGbmSettings:
    """LightGBM's numbers, and ``features``: more catalog specs than the default ones (empty: `tabular_features`).

    ``rounds`` at most; a fold stops when it has not improved for ``patience`` of them. ``forward_folds`` inside train help validation
    to choose the number of rounds (0: validation alone).
    """

    rounds: int = 400
    learning_rate: float = 0.04
    leaves: int = 12
    least_rows: int = 300
    feature_share: float = 0.4
    row_share: float = 0.6
    l2: float = 20.0
    patience: int = 50
    forward_folds: int = 3
    seed: int = 0
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.leaves < 2 or self.least_rows < 1 or self.learning_rate <= 0:
            raise UsageError(
                f"LightGBM with rounds {self.rounds}, leaves {self.leaves}, least_rows {self.least_rows}, learning_rate "
                f"{self.learning_rate} cannot be: rounds, least_rows >= 1, leaves >= 2, learning_rate > 0"
            )
        if not 0 < self.feature_share <= 1 or not 0 < self.row_share <= 1:
            raise UsageError("LightGBM's feature_share and row_share are shares: give numbers in (0, 1]")


@dataclass(frozen=True)
class LightGbm:
    """LightGBM on the tabular features, relative to the current volatility level."""

    settings: LightGbmSettings = field(default_factory=LightGbmSettings)
    name: ClassVar[str] = "lightgbm"

    def fit(self, data: FitData) -> FittedBaseline:
        """A booster per horizon."""
        shape = linear.harx(data)
        return scaled_baseline(self.name, data, boosted(data, _level_anchor(data), self.settings), shape)


@dataclass(frozen=True)
class HarxLightGbm:
    """HAR-X, and LightGBM on what it leaves."""

    settings: LightGbmSettings = field(default_factory=LightGbmSettings)
    name: ClassVar[str] = "harx_lightgbm"

    def fit(self, data: FitData) -> FittedBaseline:
        """HAR-X first, then a booster per horizon on its residual."""
        anchor = linear.harx(data)
        return scaled_baseline(self.name, data, boosted(data, anchor, self.settings), anchor)


def tabular_features(base: Timeframe, steps: Sequence[int], fine: Sequence[str] = ()) -> tuple[str, ...]:
    """Level-free columns for trees, one channel each: those of HAR-X at every horizon, shorter spans, lags and indicators."""
    short, middle, long = spans(base)
    quarter, half = max(2, short // 4), max(3, short // 2)
    wanted = [spec for step in steps for spec in linear.harx_features(base, step, fine)]
    wanted += [f"relative({spec})" for step in steps for k in (1, 2, 3, 4) if (spec := linear.week_ago(base, step, k))]
    wanted += [f"up_share({short})", f"up_share({middle})", f"jump_share({short})"]
    wanted += [f"rel_log_rv({n})" for n in (3, half, 2 * short, 2 * middle)]
    wanted += [f"relative(log_yang_zhang({n}))" for n in (quarter, short)]
    wanted += [
        f"relative(log_bipower({short}))",
        f"relative(log_semivariance_up({quarter}))",
        f"relative(log_semivariance_down({quarter}))",
    ]
    wanted += [f"scaled_return({n})" for n in (1, 3, quarter, short, 3 * short, middle, 2 * middle)]
    wanted += ["lag(scaled_return(1),1)", "lag(scaled_return(1),2)", "lag(rel_log_parkinson(1),1)", "lag(rel_log_parkinson(1),2)"]
    wanted += [f"close_position({short})", f"rel_volume({short})", f"rel_volume({middle})", "rsi(14)", f"rv_ratio({short},{long})"]
    wanted += [*parse("close_hour").names, *parse("target_hour").names, *parse("target_weekday").names, "gap", "bars_since_gap"]
    return tuple(dict.fromkeys(wanted))


def tune_lightgbm(data: FitData, trials: int = 30, seed: int = 0, *, residual: bool = True) -> LightGbmSettings:
    """Settings chosen by validation over ``trials`` of a tree-structured Parzen search; the first trial is the default.

    ``residual``: tune for HAR-X + LightGBM, else for LightGBM alone. The measure is the mean over horizons and folds (validation, and
    the forward folds inside train) of the MSE of log volatility over its anchor's. Needs optuna (UsageError when absent).
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError("tuning LightGBM needs the library optuna, which is not installed: pip install optuna") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    anchor = linear.harx(data) if residual else _level_anchor(data)
    start = LightGbmSettings(seed=seed)
    parts = _Parts(data, anchor, start)

    def settings_of(numbers: dict[str, Any]) -> LightGbmSettings:
        return replace(start, **numbers)

    def objective(trial: Any) -> float:
        numbers = {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.15, log=True),
            "leaves": trial.suggest_int("leaves", 4, 48, log=True),
            "least_rows": trial.suggest_int("least_rows", 50, 1500, log=True),
            "feature_share": trial.suggest_float("feature_share", 0.15, 1.0),
            "row_share": trial.suggest_float("row_share", 0.3, 1.0),
            "l2": trial.suggest_float("l2", 0.1, 300.0, log=True),
        }
        return float(np.mean([parts.train(h, settings_of(numbers))[1] for h in range(parts.horizons)]))

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({k: getattr(start, k) for k in ("learning_rate", "leaves", "least_rows", "feature_share", "row_share", "l2")})
    study.optimize(objective, n_trials=trials)
    return settings_of(study.best_params)


def boosted(data: FitData, anchor: LinearVolatility, settings: LightGbmSettings) -> TreeVolatility:
    """``anchor`` and a booster per horizon on its residual, as an ONNX ensemble."""
    parts = _Parts(data, anchor, settings)
    dumps = [parts.train(h, settings)[0] for h in range(parts.horizons)]
    return TreeVolatility(anchor, parts.specs, trees_to_onnx(dumps, len(parts.specs)))


class _Parts:
    """Train and validation tables of all symbols, made once for every horizon and trial."""

    def __init__(self, data: FitData, anchor: LinearVolatility, settings: LightGbmSettings) -> None:
        series = data.series[0]
        fine = [n for n, c in series.candles.items() if c.timeframe < series.base]
        own = settings.features or tabular_features(series.base, data.targets[0].steps, fine)
        self.specs = tuple(dict.fromkeys([*(name for spec in own for name in _names(spec)), *network_columns(series)]))
        self.horizons = len(data.targets[0].steps)
        self.x, self.y = {}, {}
        for part, all_rows in (("train", data.train_rows), ("validation", data.validation_rows)):
            tables, residuals = [], []
            for s, t, rows in zip(data.series, data.targets, all_rows, strict=True):
                tables.append(columns(s, self.specs, rows))
                residuals.append(t.log_volatility[rows] - anchor.log_volatility(s, rows))
            self.x[part], self.y[part] = np.concatenate(tables), np.concatenate(residuals)
        closes = [s.close_time[rows] for s, rows in zip(data.series, data.train_rows, strict=True)]
        self.time = np.concatenate(closes).astype(np.float64)
        self.spans_ms = [step * series.base.milliseconds for step in data.targets[0].steps]
        self._train: dict[int, Any] = {}
        self._folds: dict[tuple[int, int], list[tuple[Any, Any]]] = {}

    def train(self, horizon: int, settings: LightGbmSettings) -> tuple[dict[str, Any], float]:
        """The dumped booster at its best round, and its mean MSE on later rows over the anchor's."""
        import lightgbm

        parameters = {
            "objective": "regression",
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.least_rows,
            "feature_fraction": settings.feature_share,
            "bagging_fraction": settings.row_share,
            "bagging_freq": 1,
            "lambda_l2": settings.l2,
            "seed": settings.seed,
            "num_threads": 1,
            "deterministic": True,
            "force_col_wise": True,
            "boost_from_average": False,
            "feature_pre_filter": False,
            "max_bin": _BINS,
            "verbosity": -1,
        }
        folds = self._datasets(horizon, settings.forward_folds, lightgbm)
        curves = []
        for train, later in folds:
            watched: dict[str, Any] = {}
            calls: list[Any] = [lightgbm.record_evaluation(watched), lightgbm.early_stopping(settings.patience, verbose=False)]
            lightgbm.train(parameters, train, settings.rounds, valid_sets=[later], valid_names=["later"], callbacks=calls)
            curve = np.array(watched["later"]["l2"]) / max(float(np.mean(later.get_label() ** 2)), 1e-12)
            curves.append(np.concatenate([[1.0], curve, np.full(settings.rounds - len(curve), curve[-1])]))
        mean = np.mean(curves, axis=0) if curves else np.linspace(1, 0, settings.rounds + 1)
        rounds = int(np.argmin(mean))
        # No round is better than the anchor alone: then none is kept.
        if not rounds:
            return {"tree_info": [{"tree_structure": {"leaf_value": 0.0}}]}, 1.0
        booster = lightgbm.train(parameters, self._whole(horizon, lightgbm), rounds)
        return booster.dump_model(), float(mean[rounds])

    def _datasets(self, horizon: int, forward: int, lightgbm: Any) -> list[tuple[Any, Any]]:
        """Pairs of (earlier, later) rows: the forward folds inside train, then train and validation."""
        if (horizon, forward) not in self._folds:
            y, time = self.y["train"][:, horizon], self.time
            known = np.flatnonzero(np.isfinite(y))
            pairs = linear.forward_folds(time[known], self.spans_ms[horizon], forward) if forward else []
            made = []
            for earlier, later in pairs:
                first = _dataset(lightgbm, self.x["train"][known[earlier]], y[known[earlier]])
                made.append((first, _dataset(lightgbm, self.x["train"][known[later]], y[known[later]], first)))
            yv = self.y["validation"][:, horizon]
            if np.isfinite(yv).any():
                whole = self._whole(horizon, lightgbm)
                made.append((whole, _dataset(lightgbm, self.x["validation"][np.isfinite(yv)], yv[np.isfinite(yv)], whole)))
            self._folds[horizon, forward] = made
        return self._folds[horizon, forward]

    def _whole(self, horizon: int, lightgbm: Any) -> Any:
        if horizon not in self._train:
            y = self.y["train"][:, horizon]
            self._train[horizon] = _dataset(lightgbm, self.x["train"][np.isfinite(y)], y[np.isfinite(y)])
        return self._train[horizon]


_BINS = 127


def _dataset(lightgbm: Any, x: NDArray[np.float32], y: NDArray[np.float64], reference: Any = None) -> Any:
    options = {"max_bin": _BINS, "feature_pre_filter": False, "num_threads": 1, "verbosity": -1, "deterministic": True}
    return lightgbm.Dataset(x, y, reference=reference, params=options, free_raw_data=False)


def _level_anchor(data: FitData) -> LinearVolatility:
    steps = data.targets[0].steps
    bias = []
    for h in range(len(steps)):
        x, y, _ = linear.stacked(data, "train", ("level",), h)
        bias.append(float(np.mean(y - x[:, 0])))
    return LinearVolatility(np.array(bias), tuple({"level": 1.0} for _ in steps))


def _names(spec: str) -> tuple[str, ...]:
    frame, bar, feature = spec.rpartition("|")
    return tuple(f"{frame}{bar}{name}" for name in parse(feature).names)

"""A bundle's forecasts traded: a rule chosen on validation, judged on what came later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.format import Manifest, read_manifest
from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles, format_minute
from candelabra.config.text import from_toml
from candelabra.config.tree import Config, config_hash
from candelabra.errors import DataError
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.models.base import ModelOutput
from candelabra.models.registry import load_fitted
from candelabra.pipeline.judging import Judgement
from candelabra.pipeline.material import Material
from candelabra.pipeline.openings import log_opening
from candelabra.progress import Reporter, Silent
from candelabra.trading.account import Account
from candelabra.trading.choice import LEAST_TRADES, Choice, Tries, choose, try_all, wide_grid
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.rules import Rule, new_rule, told
from candelabra.trading.sealed import RULE_FILE, plain_json, read_rule, write_rule
from candelabra.trading.study import Study, study
from candelabra.windows.series import Series

__all__ = [
    "RULE_FILE",
    "BacktestResult",
    "account_of",
    "backtest_bundle",
    "backtest_test",
    "choose_rule",
    "plain_json",
    "read_rule",
    "rule_of",
    "write_rule",
]

_MOMENTS: Final = 4
_TOLERANCE: Final = 1e-5
Rows = Sequence[NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """A study with the rule's origin, the bundle, what a reader must know, and what was tried on validation just now."""

    study: Study
    choice: Choice | None
    manifest: Manifest
    notes: list[str]
    tries: Tries | None = None


def account_of(config: Config) -> Account:
    """The account that a config's costs describe; take-profit orders pay half the fee."""
    costs = config.trading
    return Account(
        taker=costs.fee_bps * 1e-4, maker=costs.fee_bps * 0.5e-4, slippage=costs.slippage_bps * 1e-4, funding=costs.funding_bps * 1e-4
    )  # fmt: skip


def choose_rule(material: Material, judgement: Judgement, product: str, config: Config) -> Choice:
    """The rule that did best on the validation rows of a run, after costs."""
    rows = material.split.validation
    told_ = _forecasts(material.series, rows, judgement.validation, judgement.calibrations[product], material.recipe.horizons)
    return choose([s.base_candles for s in material.series], told_, rows, account_of(config))


def backtest_test(material: Material, judgement: Judgement, product: str, choice: Choice, config: Config, trials: int) -> Study:
    """The chosen rule on the test rows of a run; ``trials``: configurations that have seen them."""
    rows = material.split.test
    told_ = _forecasts(material.series, rows, judgement.outputs[product], judgement.calibrations[product], material.recipe.horizons)
    return study(
        choice.rule,
        [s.base_candles for s in material.series],
        told_,
        rows,
        account_of(config),
        trials=choice.tried + trials - 1,
        block=_block(config, material.recipe.base.milliseconds),
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )


def backtest_bundle(
    bundle: Path,
    candles: Sequence[Candles],
    *,
    rule: Rule | Literal["sealed", "choose", "sweep"] = "sealed",
    costs: Mapping[str, float | None] | None = None,
    runs: Path = Path("runs"),
    progress: Reporter | None = None,
) -> BacktestResult:
    """Trade a bundle's forecasts on every bar given that closes after its calibration range, its own test range first.

    ``rule``: the one sealed in the bundle, one of your own, or chosen now on the validation range (``sweep``: among a thousand), which the
    candles must then reach back to; the judged range itself is never used to choose. ``costs`` replaces settings of the sealed account.
    Forecasts are made in one pass and compared with `Predictor`'s at a few moments. Every look is logged in ``runs`` and counted.
    Raises DataError when no bar is later than the bundle's own ranges, or none is there to choose on.
    """
    progress = progress or Silent()
    manifest = read_manifest(bundle)
    config = from_toml((bundle / "config.toml").read_text(encoding="utf-8"), str(bundle / "config.toml"))
    predictor = Predictor.open(bundle)
    sealed, account = read_rule(bundle) if (bundle / RULE_FILE).is_file() or rule == "sealed" else (None, account_of(config))
    account = replace(account, **dict(costs or {}))  # type: ignore[arg-type]
    with progress.stage("candles to features"):
        symbols = list(dict.fromkeys(c.symbol for c in candles))
        series = [predictor.series([c for c in candles if c.symbol == symbol]) for symbol in symbols]
    later = [np.flatnonzero(s.close_time > manifest.ranges["test"][0]) for s in series]
    if not any(len(r) > 1 for r in later):
        raise DataError(
            f"no candle given closes after {format_minute(manifest.ranges['test'][0])}, where the bundle's own ranges end: give later "
            "candles, together with enough earlier ones for its features; a rule is never judged on what it learned from"
        )
    early = _validation_rows(series, manifest, predictor) if isinstance(rule, str) and rule != "sealed" else [r[:0] for r in later]
    outputs, notes = _outputs(bundle, predictor, series, [np.concatenate(pair) for pair in zip(early, later, strict=True)], progress)
    cuts = [len(r) for r in early]
    horizons = predictor.recipe.horizons
    choice, tries = sealed if rule == "sealed" else None, None
    if isinstance(rule, str):
        if choice is None:
            with progress.stage("choose a rule on validation"):
                first = _forecasts(
                    series, early, [o.rows(slice(0, k)) for o, k in zip(outputs, cuts, strict=True)], predictor.calibration, horizons
                )
                grid = wide_grid(horizons) if rule == "sweep" else None
                tries = try_all([s.base_candles for s in series], first, early, account, rules=grid)
                choice = tries.best(LEAST_TRADES)
        chosen, tried = choice.rule, choice.tried
    else:
        chosen, tried = rule, 1
    key = hashlib.sha256(json.dumps([config_hash(config), told(chosen), account.as_dict()], sort_keys=True).encode()).hexdigest()[:10]
    start = min(int(s.close_time[r[0]]) for s, r in zip(series, later, strict=True) if len(r))
    end = max(int(s.close_time[r[-1]]) for s, r in zip(series, later, strict=True) if len(r))
    data = hashlib.sha256("".join(c.fingerprint for c in candles).encode()).hexdigest()
    looked, openings = log_opening(runs, data, start, end, key)
    if openings > 1:
        notes.append(
            f"these bars have been opened {openings} times with {looked} rules and accounts: every further look makes luck likelier"
        )
    if start <= manifest.ranges["test"][1]:
        notes.append("judged bars lie in the bundle's own test range, which was opened when it was trained")
    with progress.stage("backtest"):
        second = _forecasts(
            series, later, [o.rows(slice(k, None)) for o, k in zip(outputs, cuts, strict=True)], predictor.calibration, horizons
        )
        found = study(
            chosen,
            [s.base_candles for s in series],
            second,
            later,
            account,
            trials=tried + max(looked, manifest.trials) - 1,
            block=_block(config, predictor.recipe.base.milliseconds),
            resamples=config.evaluation.resamples,
            seed=config.seed,
        )
    return BacktestResult(found, choice, manifest, notes, tries)


def _validation_rows(series: Sequence[Series], manifest: Manifest, predictor: Predictor) -> list[NDArray[np.int64]]:
    start, end = manifest.ranges["validation"]
    purge = predictor.recipe.purge_ms
    rows = [np.flatnonzero((s.close_time >= start) & (s.close_time < end - purge)) for s in series]
    if not any(len(r) for r in rows):
        raise DataError(
            f"a rule is chosen on the bundle's validation range ({format_minute(start)} to {format_minute(end)} UTC), and the candles "
            "given have no bar of it: give earlier candles too, use the rule sealed in the bundle (--rule sealed), or name one"
        )
    return rows


def _outputs(
    bundle: Path, predictor: Predictor, series: Sequence[Series], rows: Rows, progress: Reporter
) -> tuple[list[ModelOutput], list[str]]:
    """Calibrated outputs at all rows in one pass over each history, and a note when `Predictor` says something else."""
    model = load_fitted(bundle / "parts" / predictor.manifest.model)
    made, distance, moments = [], 0.0, 0
    with progress.stage("forecast", total=len(series)):
        for one, at in zip(series, rows, strict=True):
            output = apply_calibration(model.predict(one, at), predictor.calibration)
            made.append(output)
            known = np.flatnonzero(np.isfinite(output.log_volatility).all(axis=1))
            if len(known):
                few = known[np.linspace(0, len(known) - 1, _MOMENTS).astype(int)]
                live = predictor.outputs(one, at[few])
                there = np.isfinite(live.log_volatility).all(axis=1)  # early states that a bundle refuses as not yet final
                spread = float(np.std(output.log_volatility[known])) or 1.0
                gap = np.abs(live.log_volatility - output.log_volatility[few])[there]
                distance, moments = max(distance, float(gap.max(initial=0.0)) / spread), moments + int(there.sum())
            progress.advance(1)
    if not any(np.isfinite(o.log_volatility).all(axis=1).any() for o in made):
        raise DataError("the bundle has no forecast on any of these bars: give more of the candles before them, for its features")
    if distance > _TOLERANCE:
        return made, [f"CHECK FAILED: the live path differs from the pass over the history by {distance:.1e} of the forecasts' spread"]
    return made, [] if moments else ["the live path could not be compared: too little history at every moment tried"]


def _forecasts(
    series: Sequence[Series], rows: Rows, outputs: Sequence[ModelOutput], calibration: Calibration, horizons: Sequence[Any]
) -> list[Forecasts]:
    return [Forecasts.of(o, calibration, s.close_time[r], horizons) for s, r, o in zip(series, rows, outputs, strict=True)]


def _block(config: Config, bar_ms: int) -> int:
    return max(1, config.evaluation.block_ms // bar_ms)


def rule_of(text: str) -> Rule:
    """A rule from ``name`` or ``name:setting=value,setting=value``.

    >>> rule_of("threshold:enter=0.003,side=both").side
    'both'
    """
    name, _, rest = text.partition(":")
    return new_rule(name.strip(), dict(_setting(part) for part in rest.split(",") if part.strip()))


def _setting(part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    return key.strip(), value.strip()

"""`OnnxStream`: a bundle that follows a market, candle by candle, by the cached step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.engines import OnnxNetwork, networks_of
from candelabra.bundles.predictor import Prediction, Predictor
from candelabra.bundles.steps import NetworkSteps, can_step
from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError
from candelabra.metrics.calibration import apply_calibration
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.models.ensemble import FittedEnsemble
from candelabra.windows.recipe import candles_needed
from candelabra.windows.series import Series

if TYPE_CHECKING:
    from candelabra.bundles.stream_regimes import FollowedRegimes
    from candelabra.models.segmenter_stream import RegimeBar

__all__ = ["OnnxStream"]


class OnnxStream:
    """One symbol, followed: candles in as they close, a `Prediction` out at every base close.

    Begins from a history as long as a forecast needs (`Predictor.forecast` says how long) and keeps only the candles that features of the
    next bar read. What it says equals `Predictor.forecast` on the whole history within law 3; a restart from a history does too. Members
    without a cached step (``stepping`` names those that have one) are asked as `forecast` asks them. Regimes, where the bundle has them,
    are followed from the history too (`FollowedRegimes`); they need far more of it than a forecast, and with less there are none yet.
    """

    def __init__(self, predictor: Predictor, history: Candles | Sequence[Candles], *, keep: Mapping[str, int] | None = None) -> None:
        """``keep``: bars of a timeframe that `series` must hold beyond what the next bar reads, for whoever looks back in it.

        Raises DataError for too little history or several symbols.
        """
        self._predictor, self._steppers = predictor, _steppers(predictor.model)
        whole = {id(n): n.windows for n in networks_of(predictor.model) if not can_step(n.folder)}
        windows: dict[str, int] = {}
        for one in whole.values():
            windows |= {tf: max(bars, windows.get(tf, 0)) for tf, bars in one.items()}
        kept = dict(keep or {})
        self._needs = _most(candles_needed(predictor.recipe, windows, int(getattr(predictor.model, "warm_up", 0))), kept)
        given = [history] if isinstance(history, Candles) else list(history)
        if len({c.symbol for c in given}) != 1:
            raise DataError(f"a stream follows one symbol, got {', '.join(sorted({c.symbol for c in given})) or 'none'}: open one for each")
        self._held: dict[Timeframe, Candles] = {c.timeframe: c for c in predictor.cut(given, _most(predictor.manifest.needs, kept))}
        self._series = series = predictor.series(list(self._held.values()))
        predictor.require_enough(series)
        for stepper in self._steppers.values():
            stepper.begin(series)
        self._regimes = _followed(predictor, given)
        self._last_ms = int(series.close_time[-1])
        self._trim()

    @property
    def stepping(self) -> list[str]:
        """Names of the networks that go by the cached step."""
        return [stepper.network.name for stepper in self._steppers.values()]

    @property
    def as_of_ms(self) -> int:
        """The newest base close that has been seen."""
        return self._last_ms

    @property
    def series(self) -> Series:
        """What the model saw at the newest push: the candles that are held, their features, on the base grid."""
        return self._series

    @property
    def follows_regimes(self) -> bool:
        """Whether the bundle has regimes and enough was heard to tell them."""
        return self._regimes is not None and self._regimes.enough

    @property
    def regime_bars(self) -> tuple[RegimeBar, ...]:
        """What is said of every bar, of each timeframe with regimes, that closed with the last push, in order of time."""
        return () if self._regimes is None else self._regimes.told

    def push(self, candles: Candles | Sequence[Candles]) -> list[Prediction]:
        """Candles that have closed since: a prediction at each base close among them, in order.

        Candles of a timeframe the history did not have are refused, as are bars that do not come after those already seen (DataError).
        At a close where something the model reads is unknown, as for a while after a long gap, there is no prediction.
        """
        given = [candles] if isinstance(candles, Candles) else list(candles)
        held = dict(self._held)
        for one in given:
            if one.timeframe not in held:
                raise DataError(
                    f"{one.symbol} {one.timeframe}: this stream began from {', '.join(map(str, held))} candles: push those, or begin again"
                )
            before = held[one.timeframe]
            if len(one) and len(before) and one.open_time[0] <= before.open_time[-1]:
                raise DataError(
                    f"{one.symbol} {one.timeframe}: the bar of {format_time(int(one.open_time[0]))} does not come after the newest seen, "
                    f"{format_time(int(before.open_time[-1]))}: push each closed candle once, in order"
                )
            held[one.timeframe] = before.append(one)
        self._held = held
        self._series = series = self._predictor.series(list(held.values()))
        rows = np.flatnonzero(series.close_time > self._last_ms)
        predictions = []
        if not len(rows):
            self._told_regimes(given, rows)
        else:
            output = apply_calibration(self._advance(self._predictor.model, series, rows), self._predictor.calibration)
            newest = max(int(c.close_time[-1]) for c in held.values())
            regimes = self._told_regimes(given, series.close_time[rows])
            for place, row in enumerate(rows):
                if np.isfinite(output.log_volatility[place]).all():
                    own = output.rows(slice(place, place + 1))
                    predictions.append(self._predictor.prediction(series, int(row), own, newest, regimes[place]))
            self._last_ms = int(series.close_time[-1])
        self._trim()
        return predictions

    def _advance(self, model: FittedModel, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        if isinstance(model, FittedEnsemble):
            return model.average([self._advance(member, series, rows) for member in model.members.values()])
        stepper = self._steppers.get(id(model))
        return model.predict(series, rows) if stepper is None else stepper.advance(series, rows)

    def _told_regimes(self, given: Sequence[Candles], closes: NDArray[np.int64]) -> list[dict[str, dict[str, float]]]:
        """Chances of regimes as of each of ``closes``; the steps have just been taken there."""
        followed = self._regimes
        if followed is None:
            return [{} for _ in closes]
        new = next((c for c in given if c.timeframe == followed.timeframe), self._held[followed.timeframe].rows(slice(0, 0)))
        corrections = next((one.corrections for one in self._steppers.values() if one.network.tells_regimes), None)
        return followed.push(new, closes, corrections if len(closes) else None)

    def _trim(self) -> None:
        cut = self._predictor.cut(list(self._held.values()), self._needs)
        self._held = {c.timeframe: c for c in cut}


@dataclass(eq=False)
class _Stepper:
    """The networks of one `OnnxNetwork`, and up to which close each coarse arm has been told."""

    network: OnnxNetwork
    steps: list[NetworkSteps]
    told_ms: dict[str, int] = field(default_factory=dict)
    corrections: NDArray[np.float32] | None = None
    """How the bars last pushed correct the logits of regimes ``(bars, R)``, where the network learned some."""

    def begin(self, series: Series) -> None:
        """See the receptive field before and at the newest bar."""
        spec, windows = self.network.spec, self.network.windows
        base = np.arange(max(0, len(series) - windows[spec.base]), len(series))
        for tf in spec.coarse:
            close = series.candles[tf].close_time
            first = len(close) - windows[tf]
            self.told_ms[tf] = int(close[first - 1]) if first > 0 else -1
        self.advance(series, base)

    def advance(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Push base bars ``rows``, and before each the coarse bars that have closed by then; the forecasts at all of them."""
        spec = self.network.spec
        prepared = spec.prepare(series)
        quantiles, volatility, corrections = [], [], []
        for row in rows:
            for _, _, tf, k in sorted(self._closed(series, int(series.close_time[row]))):
                for steps in self.steps:
                    steps.push_coarse(tf, prepared.x[tf][k])
            patches = {tf: prepared.x[tf][row] for tf in spec.fine}
            answers = [steps.push(prepared.x[spec.base][row], patches) for steps in self.steps]
            quantiles.append(np.stack([q for q, _ in answers]).mean(axis=0, dtype=np.float64))
            volatility.append(np.stack([v for _, v in answers]).mean(axis=0, dtype=np.float64))
            if self.network.tells_regimes:
                corrections.append(np.stack([steps.regimes for steps in self.steps]).mean(axis=0, dtype=np.float64))
        known = (rows >= prepared.first)[:, None]
        if corrections:
            self.corrections = np.where(known, np.asarray(corrections, np.float32), np.float32(np.nan))
        q, v = np.asarray(quantiles, np.float32), np.asarray(volatility, np.float32)
        return spec.finish(np.where(known[..., None], q, np.nan), np.where(known, v, np.nan), prepared.anchor[rows])

    def _closed(self, series: Series, by_ms: int) -> list[tuple[int, int, str, int]]:
        """Coarse bars not yet told that have closed by ``by_ms``: close, how fine (coarser first), timeframe, row."""
        found = []
        for place, tf in enumerate(self.network.spec.coarse):
            close = series.candles[tf].close_time
            first, last = np.searchsorted(close, (self.told_ms[tf], by_ms), "right")
            found += [(int(close[k]), -place, tf, int(k)) for k in range(first, last)]
            if last > first:
                self.told_ms[tf] = int(close[last - 1])
        return found


def _most(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {name: max(a.get(name, 0), b.get(name, 0)) for name in (*a, *b)}


def _steppers(model: FittedModel) -> dict[int, _Stepper]:
    return {
        id(n): _Stepper(n, [NetworkSteps(n.folder, k, n.spec.coarse) for k in range(len(n.sessions))])
        for n in networks_of(model)
        if can_step(n.folder)
    }


def _followed(predictor: Predictor, candles: list[Candles]) -> FollowedRegimes | None:
    """The regimes of a bundle that has some, where candles can tell them."""
    segmenter, history = predictor.segmenter, predictor.regime_candles(candles)
    if segmenter is None or history is None:
        return None
    from candelabra.bundles.stream_regimes import FollowedRegimes  # heavy, and most bundles have none

    return FollowedRegimes(segmenter, history)

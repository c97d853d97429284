"""What a bundle knows of anomalies: laws and thresholds of each symbol and timeframe, and the alarms they raise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from candelabra.candles.frame import Candles
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.anomalies import AnomalyModel, fit_anomalies
from candelabra.regimes.anomaly_alarms import FOLLOW, Alarm, Threshold, alarms, calibrate
from candelabra.regimes.anomaly_forecasts import BarForecasts

__all__ = ["FALSE_ALARMS", "Watch", "fit_watch", "load_watches", "save_watches"]

FALSE_ALARMS: Final = 2.0
"""Alarms per 1,000 clean bars that a threshold is set for."""

_FILE: Final = "anomalies.json"


@dataclass(frozen=True, eq=False)
class Watch:
    """Over one symbol at one timeframe: ``model`` fitted on train, ``threshold`` set on the calibration range.

    ``by_forecasts``: it was set on scores of which the bundle's own forecasts were a part, and holds of such scores alone.
    """

    model: AnomalyModel
    threshold: Threshold
    by_forecasts: bool = False

    def alarms(self, candles: Candles, since_ms: int | None = None, forecasts: BarForecasts | None = None) -> list[Alarm]:
        """Flagged bars with their reasons, oldest first; a bar is flagged by what was known at its close.

        ``forecasts``: a row a bar, heard where the threshold was set with them. UsageError where it was and there are none.
        """
        if self.by_forecasts and forecasts is None:
            raise UsageError(
                f"{self.model.symbol} {self.model.timeframe}: the rate of alarms was set with the bundle's forecasts: give those of these "
                "candles (bundles.bar_forecasts)"
            )
        scores = self.model.score(candles, forecasts if self.by_forecasts else None)
        return alarms(scores, self.threshold.flag(scores), since_ms=since_ms)

    def words(self, bars: int) -> str:
        """What is promised, for people."""
        return self.threshold.words(bars) + (", judged by the bundle's own forecasts" if self.by_forecasts else "")


def fit_watch(
    candles: Candles,
    train_end_ms: int,
    calibration: tuple[int, int],
    false_alarms: float = FALSE_ALARMS,
    *,
    forecasts: BarForecasts | None = None,
) -> Watch | str:
    """A watch, or why there can be none: too few bars for the laws or for the promised rate.

    ``forecasts``: what the bundle forecast at each of ``candles``; the threshold is then set on scores that hear them.
    """
    try:
        model = fit_anomalies(candles.between(end_ms=train_end_ms))
        known = candles.between(end_ms=calibration[1])
        told = None if forecasts is None else replace(forecasts, quantiles=forecasts.quantiles[: len(known)])
        scores = model.score(known, told)
        late = scores.combined[scores.close_time > calibration[0]]
        return Watch(model, calibrate(late, false_alarms, step=FOLLOW), told is not None)
    except DataError as error:
        return str(error)


def save_watches(watches: Sequence[Watch], folder: Path) -> None:
    """Write them all into one JSON file."""
    content = [{"model": one.model.to_dict(), "threshold": one.threshold.to_dict(), "by_forecasts": one.by_forecasts} for one in watches]
    (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def load_watches(bundle: Path) -> Mapping[tuple[str, str], Watch]:
    """By symbol and timeframe name; empty where the bundle has none, BundleError where they are damaged."""
    path = bundle / _FILE
    if not path.is_file():
        return {}
    try:
        content: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        found = [
            Watch(AnomalyModel.from_dict(one["model"]), Threshold.from_dict(one["threshold"]), bool(one.get("by_forecasts")))
            for one in content
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}): restore the sealed bundle or train again") from error
    return {(one.model.symbol, one.model.timeframe.name): one for one in found}

"""What a bundle knows of anomalies: laws and thresholds of each symbol and timeframe, and the alarms they raise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from candelabra.candles.frame import Candles
from candelabra.errors import BundleError, DataError
from candelabra.regimes.anomalies import AnomalyModel, fit_anomalies
from candelabra.regimes.anomaly_alarms import FOLLOW, Alarm, Threshold, alarms, calibrate

__all__ = ["FALSE_ALARMS", "Watch", "fit_watch", "load_watches", "save_watches"]

FALSE_ALARMS: Final = 2.0
"""Alarms per 1,000 clean bars that a threshold is set for."""

_FILE: Final = "anomalies.json"


@dataclass(frozen=True, eq=False)
class Watch:
    """Over one symbol at one timeframe: ``model`` fitted on train, ``threshold`` set on the calibration range."""

    model: AnomalyModel
    threshold: Threshold

    def alarms(self, candles: Candles, since_ms: int | None = None) -> list[Alarm]:
        """Flagged bars with their reasons, oldest first; a bar is flagged by what was known at its close."""
        scores = self.model.score(candles)
        return alarms(scores, self.threshold.flag(scores), since_ms=since_ms)

    def words(self, bars: int) -> str:
        """What is promised, for people."""
        return self.threshold.words(bars)


def fit_watch(candles: Candles, train_end_ms: int, calibration: tuple[int, int], false_alarms: float = FALSE_ALARMS) -> Watch | str:
    """A watch, or why there can be none: too few bars for the laws or for the promised rate."""
    try:
        model = fit_anomalies(candles.between(end_ms=train_end_ms))
        scores = model.score(candles.between(end_ms=calibration[1]))
        late = scores.combined[scores.close_time > calibration[0]]
        return Watch(model, calibrate(late, false_alarms, step=FOLLOW))
    except DataError as error:
        return str(error)


def save_watches(watches: Sequence[Watch], folder: Path) -> None:
    """Write them all into one JSON file."""
    content = [{"model": one.model.to_dict(), "threshold": one.threshold.to_dict()} for one in watches]
    (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def load_watches(bundle: Path) -> Mapping[tuple[str, str], Watch]:
    """By symbol and timeframe name; empty where the bundle has none, BundleError where they are damaged."""
    path = bundle / _FILE
    if not path.is_file():
        return {}
    try:
        content: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        found = [Watch(AnomalyModel.from_dict(one["model"]), Threshold.from_dict(one["threshold"])) for one in content]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}): restore the sealed bundle or train again") from error
    return {(one.model.symbol, one.model.timeframe.name): one for one in found}

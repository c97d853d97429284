"""A watch keeps what it was set with: laws alone, or a bundle's own forecasts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from candelabra.bundles.watching import Watch, fit_watch, load_watches, save_watches
from candelabra.candles.frame import Candles
from candelabra.candles.simulate import simulate
from candelabra.errors import UsageError
from candelabra.regimes.anomaly_forecasts import BarForecasts

CANDLES: Candles = simulate(bars=6_000, seed=3).candles
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
TRAIN, END = (int(CANDLES.close_time[k]) for k in (3_599, 4_799))


def forecasts(candles: Candles, narrow_from: int | None = None) -> BarForecasts:
    """Quantiles of about the right width; from a bar on a hundred times too narrow."""
    r = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
    quantiles = np.tile(np.std(r) * np.array([-1.6, -0.6, 0.0, 0.6, 1.6]), (len(candles), 1))
    if narrow_from is not None:
        quantiles[narrow_from:] /= 100
    return BarForecasts.of(quantiles, LEVELS)


@pytest.fixture(scope="module")
def by_forecasts() -> Watch:
    made = fit_watch(CANDLES, TRAIN, (TRAIN, END), forecasts=forecasts(CANDLES))
    assert isinstance(made, Watch)
    return made


def test_a_watch_set_with_forecasts_hears_them(by_forecasts: Watch) -> None:
    plain = fit_watch(CANDLES, TRAIN, (TRAIN, END))
    assert isinstance(plain, Watch)
    assert (plain.by_forecasts, by_forecasts.by_forecasts) == (False, True)
    usual = by_forecasts.alarms(CANDLES, END, forecasts(CANDLES))
    narrow = by_forecasts.alarms(CANDLES, END, forecasts(CANDLES, narrow_from=5_500))
    assert len(narrow) > len(usual) + 20  # moves that the forecasts did not expect
    assert all(one.open_ms > int(CANDLES.open_time[5_400]) for one in narrow if one not in usual)
    assert plain.alarms(CANDLES, END, forecasts(CANDLES, narrow_from=5_500)) == plain.alarms(CANDLES, END)
    assert "own forecasts" in by_forecasts.words(100)
    assert "own forecasts" not in plain.words(100)


def test_its_threshold_reads_no_forecast_after_calibration(by_forecasts: Watch) -> None:
    later = fit_watch(CANDLES, TRAIN, (TRAIN, END), forecasts=forecasts(CANDLES, narrow_from=4_800))
    assert isinstance(later, Watch)
    assert later.threshold == by_forecasts.threshold
    earlier = fit_watch(CANDLES, TRAIN, (TRAIN, END), forecasts=forecasts(CANDLES, narrow_from=4_000))
    assert isinstance(earlier, Watch)
    assert earlier.threshold != by_forecasts.threshold


def test_without_its_forecasts_it_promises_nothing(by_forecasts: Watch) -> None:
    with pytest.raises(UsageError, match="set with the bundle's forecasts"):
        by_forecasts.alarms(CANDLES)


def test_it_is_read_back_and_so_are_files_from_before_forecasts(by_forecasts: Watch, tmp_path: Path) -> None:
    save_watches([by_forecasts], tmp_path)
    (back,) = load_watches(tmp_path).values()
    assert (back.threshold, back.by_forecasts) == (by_forecasts.threshold, True)
    content = json.loads((tmp_path / "anomalies.json").read_text())
    del content[0]["by_forecasts"]
    (tmp_path / "anomalies.json").write_text(json.dumps(content))
    assert not next(iter(load_watches(tmp_path).values())).by_forecasts

"""The sealed bundle against the evaluation that speaks of it: same forecasts from raw candles, none of them from the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.errors import DataError
from candelabra.pipeline.judging import Judgement
from candelabra.pipeline.material import Material
from candelabra.report.inputs import CausalityCheck

__all__ = ["check_bundle"]

_MOMENTS: Final = 4
_TOLERANCE: Final = 1e-5


def check_bundle(predictor: Predictor, material: Material, judgement: Judgement, product: str) -> tuple[CausalityCheck, ...]:
    """Forecasts of the bundle from candles *cut* at a few test moments, against the evaluation that saw the whole history.

    Equal within 1e-5 of the forecasts' spread means: nothing of the future was read, and training, evaluation and serving agree. Then the
    newest candle is shocked: the newest forecast must move.
    """
    distance, moments = 0.0, 0
    for i, series in enumerate(material.series):
        rows, output = judgement.rows[i], judgement.outputs[product][i]
        said = output.log_volatility[np.isfinite(output.log_volatility)]
        if not len(said):
            continue
        spread = float(np.std(said)) or 1.0
        for k in np.linspace(0, len(rows) - 1, _MOMENTS).astype(int):
            if not np.isfinite(output.log_volatility[k]).all():
                continue
            cut = [c.between(end_ms=int(series.close_time[rows[k]])) for c in material.candles[i]]
            try:
                again = predictor.forecast(cut)[0]
            except DataError:  # the evaluation judges earlier bars than a bundle, which refuses states that are not final yet
                continue
            distance = max(distance, float(np.abs(np.array(again.log_volatility) - output.log_volatility[k]).max()) / spread)
            moments += 1
    same = CausalityCheck(
        "Forecasts of the sealed bundle from candles cut at the decision equal the evaluation's",
        distance <= _TOLERANCE if moments else None,
        f"largest distance {distance:.1e} of the forecasts' spread at {moments} moments (limit {_TOLERANCE:.0e})",
    )
    return same, _fresh(predictor, material)


def _fresh(predictor: Predictor, material: Material) -> CausalityCheck:
    what = "The newest closed candle moves the newest forecast"
    if not getattr(predictor.model, "responds", True):
        return CausalityCheck(what, None, "the model is constant by nature")
    own = material.candles[0]
    finest = min(own, key=lambda c: c.timeframe.milliseconds)
    try:
        before = predictor.forecast(list(own))[0]
    except DataError as short:
        return CausalityCheck(what, None, f"these candles are too few for a forecast: {short}")
    after = predictor.forecast([_shocked(c) if c is finest else c for c in own])[0]
    moved = float(np.abs(np.array(after.log_volatility) - np.array(before.log_volatility)).max())
    return CausalityCheck(what, moved > 0, f"a 5 % shock to the newest {finest.timeframe} candle moves log volatility by {moved:.3g}")


def _shocked(candles: Candles) -> Candles:
    close, high, low = (np.array(v) for v in (candles.close, candles.high, candles.low))
    close[-1] *= 1.05
    high[-1] = max(float(high[-1]), float(close[-1]))
    return replace(candles, high=high, low=low, close=close)

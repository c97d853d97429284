"""Whether the audit bites: each planted defect audited as its kind asks, and whether what was said names it by column and distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.evaluation.causality import audit
from candelabra.evaluation.findings import Audit, Finding
from candelabra.evaluation.layers import audit_layers
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.spans import audit_split
from candelabra.evaluation.subjects import function_subject
from candelabra.evaluation.worlds import Market
from candelabra.testing.markets import example_candles
from candelabra.testing.planted import Planted

__all__ = ["audit_planted", "missed"]

_HOUR_MS: Final = 3_600_000
_BARS: Final = 2_400
_WARM_UP: Final = 48


def audit_planted(planted: Planted, seed: int = 0) -> Audit:
    """What the audit says of one planted defect, on a simulated market without gaps."""
    candles = example_candles(bars=_BARS, seed=seed, gaps=False)
    if planted.law == "fit":
        cuts = [int(candles.close_time[int(_BARS * share)]) for share in (0.6, 0.7, 0.8)]
        until = dict(zip(("train", "validation", "calibration"), cuts, strict=True))[planted.until]
        return audit_fit(planted.name, lambda world: planted.make(world.finest, cuts), Market.of(candles), until, seed=seed)
    if planted.law == "layer":
        import torch

        x = torch.randn(2, 61, 4, generator=torch.Generator().manual_seed(seed))
        return audit_layers(planted.name, planted.make(), {"x": x}, seed=seed)
    if planted.law == "split":
        return audit_split(planted.name, time_ms=candles.close_time, unit_ms=_HOUR_MS, unit="1h", **planted.make(candles.close_time))
    market = Market.of([resample(candles, frame) for frame in planted.timeframes])
    several = len(planted.timeframes) > 1
    fresh: Any = "no" if planted.law == "label" else "each"

    def given(by_name: Mapping[str, Candles]) -> Any:
        return planted.make(by_name if several else by_name["1h"])

    warm_up = _WARM_UP if planted.law == "stream" else None
    return audit(function_subject(given, name=planted.name, fresh=fresh, warm_up=warm_up, timeframe="1h"), market, seed=seed)


def missed(planted: Planted, found: Audit) -> str:
    """Empty when the column is named with the right law and distance; else what is wrong with what was said."""
    told = [f for f in found.findings if f.column == planted.column and f.law == planted.law]
    if not told:
        said = "; ".join(f.words for f in found.findings) or "nothing"
        return f"{planted.name}: {planted.law} of {planted.column} was not named; said: {said}"
    if planted.law == "layer" and planted.mode not in {f.way for f in told}:
        return f"{planted.name}: not named in {planted.mode} mode: {told[0].words}"
    if not any(_far_enough(planted, f, found) for f in told):
        return f"{planted.name}: {planted.bars} bars were due (None: to the end), said: {told[0].words}"
    return ""


def _far_enough(planted: Planted, finding: Finding, found: Audit) -> bool:
    if planted.law == "stream":
        return True
    if finding.bars is None:
        return False
    if planted.bars is not None:
        return finding.bars >= planted.bars if planted.at_least else finding.bars == planted.bars
    whole = 60 if planted.law == "layer" else _BARS - 1
    if planted.law == "fit":
        share = {"train": 0.6, "validation": 0.7, "calibration": 0.8}[planted.until]
        whole = _BARS - 1 - int(_BARS * share)
    return (
        finding.bars >= (0.25 if planted.law == "fit" else 0.5) * whole
        if planted.at_least
        else bool(finding.to_the_end and finding.bars >= int(np.floor(0.9 * whole)))
    )

"""candelabra learns from OHLCV candles at several timeframes at once.

The short way in: `Candles`, `read_candles`, `simulate`, `configure`, `train` and `Predictor`, loaded when they are first used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from candelabra.bundles.predictor import Predictor
    from candelabra.candles.frame import Candles
    from candelabra.candles.simulate import simulate
    from candelabra.config.build import configure
    from candelabra.pipeline.train import train
    from candelabra.sources.files import read_candles

__all__ = ["Candles", "Predictor", "__version__", "configure", "read_candles", "simulate", "train"]

__version__ = "0.1.0"

if "OMP_WAIT_POLICY" not in os.environ:
    # Threads of torch spin while they wait for each other. Where the machine is shared, the other one may be off its core for
    # milliseconds, and spinning as long as libgomp does by default made a training take ten times as long. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

_DOORS: Final = {
    "Candles": "candelabra.candles.frame",
    "Predictor": "candelabra.bundles.predictor",
    "configure": "candelabra.config.build",
    "read_candles": "candelabra.sources.files",
    "simulate": "candelabra.candles.simulate",
    "train": "candelabra.pipeline.train",
}


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_DOORS[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS})

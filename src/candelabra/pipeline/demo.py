"""The main job with nothing to prepare: on a simulated market, or on the user's own candles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from candelabra.candles.simulate import simulate
from candelabra.config.tree import Config
from candelabra.pipeline.material import advice
from candelabra.pipeline.train import TrainResult, train
from candelabra.progress import Reporter, Silent
from candelabra.sources.files import read_with_notes

__all__ = ["DEMO_BARS", "demo", "demo_config"]

DEMO_BARS: Final = 80_000  # 15-minute bars: 2.3 years, enough for daily bars to teach something and few enough for minutes
_SYMBOL: Final = "SIM/USDT"


def demo_config(config: Config) -> Config:
    """``config`` with the demo's four timeframes: 15m inside 1h, 4h and 1d above it."""
    frames = replace(config.timeframes, base="1h", coarse=("4h", "1d"), fine=("15m",), volatility="15m")
    return replace(config, timeframes=frames)


def demo(
    config: Config,
    paths: Sequence[str | Path] | None = None,
    *,
    bars: int = DEMO_BARS,
    folder: Path | None = None,
    runs: Path = Path("runs"),
    progress: Reporter | None = None,
) -> TrainResult:
    """Train on the candles in ``paths`` with ``config``, or on ``bars`` simulated 15-minute bars with `demo_config`.

    The simulated candles are left in the run folder (see `train`).
    """
    progress = progress or Silent()
    if paths:
        wanted = config.candles
        with progress.stage("read candles"):
            candles, notes = read_with_notes(
                list(paths),
                symbol=wanted.symbols[0] if len(wanted.symbols) == 1 else None,
                timeframe=wanted.timeframes[0] if len(wanted.timeframes) == 1 else None,
                on_bad=wanted.on_bad,
            )
        for line in (*notes.lines, *advice(candles, config)):
            progress.note(line)
        command = f"candelabra demo --candles {' '.join(str(p) for p in paths)}"
        return train(config, candles, folder=folder, runs=runs, progress=progress, commands=(command,))
    with progress.stage("simulate a market"):
        market = simulate(_SYMBOL, "15m", bars=bars, seed=config.seed)
    progress.note("this market is SIMULATED: its figures say nothing about real prices; use --candles for your own")
    chosen = demo_config(config)
    return train(
        chosen, [market.candles], folder=folder, runs=runs, progress=progress, market={_SYMBOL: market}, commands=("candelabra demo",)
    )

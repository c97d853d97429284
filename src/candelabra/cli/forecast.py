"""``forecast``: from raw candles to what comes next, with a sealed bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.options import AsJson, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.bundles.predictor import Prediction

__all__ = ["forecast", "time_ms"]


def forecast(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As of this time (UTC), as in 2023-06-01 or 2023-06-01T12:00.")
    ] = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Forecast from the newest closed candle (or the newest at --at): returns, prices and volatility by horizon."""
    from candelabra.cli.progress import reporter

    as_of = None if at is None else time_ms(at)
    tree = settings(paths=paths, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        from candelabra.bundles.predictor import Predictor

        with progress.stage("open the bundle"):
            predictor = Predictor.open(bundle_folder(bundle))
        candles = read(tree, progress)
        with progress.stage("forecast"):
            predictions = predictor.forecast(candles, as_of)
    if as_json:
        emit_json("forecast", {"bundle": predictor.manifest.id, "predictions": [p.to_dict() for p in predictions]})
        return 0
    for prediction in predictions:
        _show(prediction)
    if predictor.manifest.simulated:
        err().print("note: this bundle learned from a simulated market; its forecasts mean nothing for a real one")
    return 0


def time_ms(text: str) -> int:
    """A time in UTC as ms; UsageError for what is none.

    >>> time_ms("1970-01-02"), time_ms("1970-01-01T01:00Z")
    (86400000, 3600000)
    """
    from datetime import UTC, datetime

    try:
        value = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"{text!r} is not a time: write it as 2023-06-01 or 2023-06-01T12:00 (UTC)") from None
    return round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)


def _show(prediction: Prediction) -> None:
    as_of = prediction.to_dict()["as_of"]
    mark = " (SIMULATED)" if prediction.simulated else ""
    out().print(f"{prediction.symbol}{mark} as of {as_of}, close {prediction.close:g}", style="bold")
    wanted = [_nearest(prediction.levels, level) for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
    columns = ("horizon", *(f"{100 * prediction.levels[k]:g} %" for k in wanted), "mean", "volatility")
    rows = [
        (
            horizon,
            *(f"{prediction.prices[h][k]:.6g}" for k in wanted),
            f"{100 * prediction.mean[h]:+.3f} %",
            f"{100 * prediction.volatility[h]:.2f} %",
        )
        for h, horizon in enumerate(prediction.horizons)
    ]
    out().print(table(columns, rows, title="price at the end of each horizon, by probability of ending below", numbers=columns[1:]))


def _nearest(levels: tuple[float, ...], wanted: float) -> int:
    return min(range(len(levels)), key=lambda k: abs(levels[k] - wanted))

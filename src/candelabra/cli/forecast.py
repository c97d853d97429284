"""``forecast``: from raw candles to what comes next, with a sealed bundle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.options import AsJson, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.bundles.predictor import Prediction

__all__ = ["forecast", "signed_percent", "time_ms"]


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
    unseen = [p.symbol for p in predictions if p.symbol not in predictor.manifest.symbols]
    if as_json:
        told = [p.to_dict() for p in predictions]
        emit_json("forecast", {"bundle": predictor.manifest.id, "predictions": told, "symbols_never_seen": unseen})
        return 0
    for prediction in predictions:
        _show(prediction)
    if unseen:
        err().print(
            f"note: this bundle never saw {', '.join(unseen)}: it learned from {', '.join(predictor.manifest.symbols)}, and nobody has "
            "measured what its forecasts and intervals are worth elsewhere",
            soft_wrap=True,
        )
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
    places = _places(prediction.close)
    out().print(f"{prediction.symbol}{mark} as of {as_of}, close {prediction.close:.{places}f}", style="bold")
    wanted = [_nearest(prediction.levels, level) for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
    columns = ("horizon", *(f"{100 * prediction.levels[k]:g} %" for k in wanted), "mean", "volatility")
    rows = [
        (
            horizon,
            *(f"{prediction.prices[h][k]:.{places}f}" for k in wanted),
            signed_percent(prediction.mean[h]),
            f"{100 * prediction.volatility[h]:.2f} %",
        )
        for h, horizon in enumerate(prediction.horizons)
    ]
    out().print(table(columns, rows, title="price at the end of each horizon, by probability of ending below", numbers=columns[1:]))
    for timeframe, chances in prediction.regimes.items():
        told = ", ".join(f"{label} {100 * p:.0f} %" for label, p in sorted(chances.items(), key=lambda one: -one[1]))
        out().print(f"{timeframe} regime: {told}", soft_wrap=True)


def _places(price: float) -> int:
    """Decimals that show a price with six digits: one number for a whole table.

    >>> _places(43_215.67), _places(0.00001234), _places(2_345_678.0)
    (1, 10, 0)
    """
    return max(0, 5 - math.floor(math.log10(price)))


def signed_percent(share: float) -> str:
    """A share as percent with its sign; what rounds to nothing has none.

    >>> signed_percent(0.00123), signed_percent(-0.000004), signed_percent(-0.01)
    ('+0.123 %', '0.000 %', '-1.000 %')
    """
    text = f"{100 * share:+.3f}"
    return f"{text if float(text) else text[1:]} %"


def _nearest(levels: tuple[float, ...], wanted: float) -> int:
    return min(range(len(levels)), key=lambda k: abs(levels[k] - wanted))

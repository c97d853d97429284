"""Options that several verbs share, and the settings and candles they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candelabra.errors import UsageError
from candelabra.progress import Reporter

if TYPE_CHECKING:
    from candelabra.candles.frame import Candles
    from candelabra.config.tree import Config

__all__ = [
    "AsJson",
    "Assignments",
    "ConfigFile",
    "OnBad",
    "Paths",
    "Quiet",
    "Since",
    "Size",
    "Symbols",
    "Timeframes",
    "Until",
    "read",
    "settings",
    "symbol_name",
]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings (default: ./candelabra.toml when there).")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as in training.steps=300; repeatable.")
]
Size = Annotated[str | None, typer.Option("--size", metavar="SIZE", help="tiny, small or base.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol, as in BTC/USDT; repeatable.")]
Timeframes = Annotated[list[str] | None, typer.Option("--timeframe", metavar="TF", help="Read only files of this timeframe; repeatable.")]
Since = Annotated[str | None, typer.Option("--since", metavar="DATE", help="Only bars that open from then on (UTC), as in 2021-01-01.")]
Until = Annotated[str | None, typer.Option("--until", metavar="DATE", help="Only bars that have closed by then (UTC).")]
OnBad = Annotated[str | None, typer.Option("--on-bad", metavar="WHAT", help="refuse or drop rows that are not candles.")]
Paths = Annotated[list[str] | None, typer.Argument(metavar="[PATHS]...", help="Candle files, folders or globs.", show_default=False)]


def settings(
    file: Path | None = None,
    assignments: Sequence[str] | None = None,
    *,
    size: str | None = None,
    paths: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    timeframes: Sequence[str] | None = None,
    on_bad: str | None = None,
    since: str | None = None,
    until: str | None = None,
    **others: Any,
) -> Config:
    """The resolved tree of a command: its arguments count as values between the environment and ``--set``."""
    from candelabra.config.build import load

    values: dict[str, Any] = {"size": size, "candles.on_bad": on_bad, "candles.since": since, "candles.until": until}
    values |= {"candles.paths": paths, "candles.symbols": symbols and [symbol_name(s) for s in symbols], "candles.timeframes": timeframes}
    values |= others
    return load(file, assignments=assignments or (), values={k: v for k, v in values.items() if v not in (None, [], ())})


def read(config: Config, progress: Reporter) -> list[Candles]:
    """The candles the settings name; UsageError when they name none, or a symbol or timeframe that is not there."""
    from candelabra.sources.files import read_with_notes

    chosen = config.candles
    if not chosen.paths:
        raise UsageError(
            "no candles were named: give files or folders, or set candles.paths in candelabra.toml; `candelabra demo` needs none"
        )
    with progress.stage("read candles"):
        found, notes = read_with_notes(
            list(chosen.paths),
            symbol=chosen.symbols[0] if len(chosen.symbols) == 1 else None,
            timeframe=chosen.timeframes[0] if len(chosen.timeframes) == 1 else None,
            on_bad=chosen.on_bad,
        )
    for line in notes.lines:
        progress.note(line)
    _present("symbol", chosen.symbols, {c.symbol for c in found})
    _present("timeframe", chosen.timeframes, {c.timeframe.name for c in found})
    return [
        c
        for c in found
        if (not chosen.symbols or c.symbol in chosen.symbols) and (not chosen.timeframes or c.timeframe.name in chosen.timeframes)
    ]


def _present(what: str, wanted: Sequence[str], there: set[str]) -> None:
    from candelabra.registry import did_you_mean

    for one in wanted:
        if one not in there:
            raise UsageError(f"there are no candles of the {what} {one}: {did_you_mean(one, sorted(there))}")


def symbol_name(text: str) -> str:
    """A symbol as candles spell it, ``BTCUSDT`` too."""
    from candelabra.sources.symbols import split_symbol

    return split_symbol(text) or text

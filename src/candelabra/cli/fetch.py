"""``fetch``: candles from an exchange into a store."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.options import AsJson, Quiet, symbol_name
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.candles.timeframe import Timeframe
    from candelabra.progress import Reporter
    from candelabra.sources.exchanges.contract import Source
    from candelabra.sources.exchanges.journey import FetchReport
    from candelabra.sources.store import Store

__all__ = ["fetch"]


def fetch(
    exchange: Annotated[str, typer.Argument(metavar="EXCHANGE", help="As in binance.", show_default=False)],
    symbols: Annotated[
        list[str], typer.Argument(metavar="SYMBOLS...", help="As in BTC/USDT; a perpetual as in BTC/USDT:USDT.", show_default=False)
    ],
    timeframe: Annotated[
        str, typer.Option("--timeframe", metavar="TF", help="Take the finest you need: the store makes coarser ones.")
    ] = "1m",
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DATE", help="From then on (UTC), as in 2021-01-01 (default: go on from what is stored)."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE", help="Up to then (default: the newest closed candle).")] = None,
    store: Annotated[Path, typer.Option("--store", metavar="STORE", help="The store's folder; a new one is made.")] = Path("candles"),
    funding: Annotated[bool, typer.Option("--funding", help="Perpetuals' funding rates too, kept beside the candles.")] = False,
    archive: Annotated[
        str | None,
        typer.Option(
            "--archive", metavar="PLACE", help="Binance's zip archives in a folder or at https://data.binance.vision: no requests of it."
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Ask an emulator at this address; its candles are marked as SIMULATED.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Fetch closed candles of an exchange into a store. Interrupted or killed, the same command goes on.

    Every page is checked before it is believed; what the exchange has not is recorded with its reason. No key is needed.
    """
    from candelabra.candles.timeframe import Timeframe
    from candelabra.cli.progress import reporter
    from candelabra.config.tree import time_ms
    from candelabra.sources.exchanges.contract import Connection
    from candelabra.sources.exchanges.registry import open_source
    from candelabra.sources.store import Store

    frame = Timeframe(timeframe)
    start, end = (None if text is None else time_ms(text, key) for text, key in ((since, "--since"), (until, "--until")))
    if start is not None and end is not None and start >= end:
        raise UsageError(f"--since {since} is not before --until {until}: there is nothing between them")
    names = list(dict.fromkeys(symbol_name(s) for s in symbols))
    if archive is not None:
        from candelabra.cli.fetch_archive import from_archive

        return from_archive(exchange.lower(), names, frame, start, end, store, archive, funding=funding, as_json=as_json, quiet=quiet)
    source = open_source(Connection(exchange.lower(), base_url))
    kept = Store.create(store)
    starts = {name: _start(kept, source.name, name, frame) if start is None else start for name in names}
    try:
        with reporter(quiet=quiet) as progress:
            report = asyncio.run(_fetched(source, kept, starts, frame, end, funding, progress))
    except KeyboardInterrupt:
        err().print(f"what had come is in {store}; the same command goes on from there")
        raise
    failed = list(report.failed.values())
    if as_json:
        emit_json("fetch", _told(report, store))
    else:
        _show(report, store, frame)
    return failed[0].exit_code if failed else 0


async def _fetched(
    source: Source, store: Store, starts: dict[str, int], frame: Timeframe, end: int | None, funding: bool, progress: Reporter
) -> FetchReport:
    from candelabra.sources.exchanges.journey import fetch_candles, fetch_fundings

    try:
        report = await fetch_candles(source, store, starts, frame, end, progress=progress)
        if funding:
            await fetch_fundings(source, store, starts, end, report, progress=progress)
        return report
    finally:
        await source.close()


def _start(store: Store, exchange: str, symbol: str, frame: Timeframe) -> int:
    """Where what is stored begins: without --since a journey fills it up and goes on."""
    for series in store.series(symbol, frame, exchange):
        covered = series.look().tail.ledger.covered()
        if covered:
            return covered[0][0]
    raise UsageError(f"nothing of {symbol} {frame} of {exchange} is stored in {store.root}: say from when (--since 2021-01-01)")


def _told(report: FetchReport, store: Path) -> dict[str, Any]:
    filled = [asdict(one) | {"timeframe": one.timeframe.name} for one in report.filled]
    failed = [{"symbol": symbol, "error": str(error), "exit_code": error.exit_code} for symbol, error in report.failed.items()]
    rates = {symbol: {"rates": len(one), "fetched": one.fetched} for symbol, one in report.funding.items()}
    facts = {"funding": rates, "exchange": report.exchange, "store": str(store), "series": filled, "failed": failed}
    return facts | {"clock_skew_ms": report.skew_ms, "requests": report.requests}


def _show(report: FetchReport, store: Path, frame: Timeframe) -> None:
    from candelabra.candles.frame import format_minute

    rows = []
    for one in report.filled:
        known = f"{one.added:,} new, {one.unchanged:,} known" + (f", {one.revised:,} revised" if one.revised else "")
        rows.append((one.symbol, one.timeframe.name, known, f"{one.absent:,}", format_minute(one.complete_ms)))
    if rows:
        out().print(table(("symbol", "bars", "stored", "absent", "complete up to (UTC)"), rows, numbers=("absent",)))
    for symbol, rates in report.funding.items():
        until = f" up to {format_minute(int(rates.time_ms[-1]))}" if len(rates) else ""
        out().print(f"{symbol}: {len(rates):,} funding rates{until}")
    for note in dict.fromkeys(note for one in report.filled for note in one.notes):
        err().print(f"note: {note}", soft_wrap=True)
    for symbol, error in report.failed.items():
        err().print(f"error: {symbol}: {error}", style="red", soft_wrap=True)
    if report.filled:
        again = "" if not report.failed else "; the same command goes on with what failed"
        gaps = f"candelabra store gaps {store} {report.filled[0].symbol} {frame}"
        out().print(
            f"the candles are in {store}{again}; look at them: candelabra check {store}; what is absent and why: {gaps}", soft_wrap=True
        )

"""``repair``: a store made whole again: what is damaged is mended, and its exchanges are asked again for exactly the holes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson, Quiet, symbol_name
from candelabra.errors import CandelabraError, UsageError

if TYPE_CHECKING:
    from candelabra.progress import Reporter
    from candelabra.sources.exchanges.asking_again import AskedAgain
    from candelabra.sources.provenance import HoleKind
    from candelabra.sources.store import Mended, Series, Store

__all__ = ["repair"]


def repair(
    root: Annotated[Path, typer.Argument(metavar="STORE", help="A store's folder.", show_default=False)],
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol, as in BTC/USDT.")] = None,
    timeframe: Annotated[str | None, typer.Option("--timeframe", metavar="TF", help="Only this timeframe, as in 1m.")] = None,
    exchange: Annotated[str | None, typer.Option("--exchange", metavar="NAME", help="Only this exchange, as in binance.")] = None,
    why: Annotated[
        list[str] | None,
        typer.Option(
            "--why",
            metavar="KIND",
            help="Holes of this kind only (again for more): 'not fetched', unknown, 'exchange gap', 'no trade'. Default: all but the last.",
        ),
    ] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", metavar="URL", help="Ask an emulator at this address.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Mend what is damaged in a store, then ask its exchanges again for exactly the holes. Deletes no candles.

    What an exchange still has not is recorded with its reason and counts as settled. Exit code 1 when bars are left that nobody could
    be asked for, 4 when an exchange did not answer.
    """
    from candelabra.cli.progress import reporter
    from candelabra.sources.store import Store

    kinds = _kinds(why)
    store = Store.open(root)
    name = None if symbol is None else symbol_name(symbol)
    mended = store.repair(name, timeframe, exchange)
    with reporter(quiet=quiet) as progress:
        asked, failed = _asked(store, store.series(name, timeframe, exchange), mended, kinds, base_url, progress)
    left = sum(one.left.get("not fetched", 0) for one in asked)
    if as_json:
        told = [asdict(one) | {"timeframe": one.timeframe.name} for one in asked]
        refused = [{"series": str(series), "error": str(error), "exit_code": error.exit_code} for series, error in failed.items()]
        emit_json("repair", {"store": str(root), "mended": [asdict(m) for m in mended], "asked": told, "failed": refused})
    else:
        for one in mended:
            out().print(f"{one.series}, {one.file}: {one.what}", soft_wrap=True)
        _show(asked)
        for series, error in failed.items():
            err().print(f"error: {series}: {error}", style="red", soft_wrap=True)
        out().print(f"look at it: candelabra check {root} --picture coverage.html", soft_wrap=True)
    codes = [error.exit_code for error in failed.values()]
    return max(codes) if codes else EXIT_FINDINGS if left else 0


def _kinds(why: list[str] | None) -> Sequence[HoleKind]:
    from candelabra.sources.exchanges.asking_again import DOUBTFUL
    from candelabra.sources.provenance import HoleKind

    known = [kind for kind in get_args(HoleKind) if kind != "repaired"]
    for word in why or []:
        if word not in known:
            raise UsageError(f"--why {word!r} is no reason: choose of {', '.join(map(repr, known))}")
    return cast("list[HoleKind]", why) if why else DOUBTFUL


def _asked(
    store: Store, series: list[Series], mended: list[Mended], kinds: Sequence[HoleKind], base_url: str | None, progress: Reporter
) -> tuple[list[AskedAgain], dict[Series, CandelabraError]]:
    """Exchange after exchange; what goes wrong with one series does not hold up the others."""
    from candelabra.sources.exchanges.asking_again import ask_again
    from candelabra.sources.exchanges.contract import Connection
    from candelabra.sources.exchanges.registry import open_source

    lost = {str(one): [span for m in mended if m.series == str(one) for span in m.fetch] for one in series}
    done: list[AskedAgain] = []
    failed: dict[Series, CandelabraError] = {}

    async def all_of(exchange: str, own: list[Series]) -> None:
        source = open_source(Connection(exchange, base_url))
        try:
            for one in own:
                try:
                    done.append(await ask_again(source, store, one.symbol, one.timeframe, kinds, lost=lost[str(one)]))
                except CandelabraError as error:
                    failed[one] = error
                progress.advance(1)
        finally:
            await source.close()

    wanting = [
        one
        for one in series
        if lost[str(one)] or any(h.kind in kinds for h in store.gaps(one.symbol, one.timeframe, exchange=one.exchange))
    ]
    with progress.stage("ask for the holes again", total=float(len(wanting))):
        for exchange in sorted({one.exchange for one in wanting}):
            own = [one for one in wanting if one.exchange == exchange]
            try:
                asyncio.run(all_of(exchange, own))
            except CandelabraError as error:  # an exchange that nobody knows: candles of files
                failed |= dict.fromkeys(own, error)
    return done, failed


def _show(asked: list[AskedAgain]) -> None:
    if not asked:
        out().print("no holes to ask for")
        return
    rows = []
    for one in asked:
        left = ", ".join(f"{count:,} {kind}" for kind, count in sorted(one.left.items())) or "none"
        rows.append((one.symbol, one.timeframe.name, one.exchange, f"{one.absent:,}", f"{one.found:,}", left))
    out().print(table(("symbol", "bars", "exchange", "absent before", "found", "absent now"), rows, numbers=("absent before", "found")))
    for note in dict.fromkeys(note for one in asked for note in one.notes):
        err().print(f"note: {note}", soft_wrap=True)

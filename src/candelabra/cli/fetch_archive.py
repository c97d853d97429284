"""``fetch --archive``: years of candles from Binance's zip archives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from candelabra.cli.console import emit_json, err, out
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.candles.timeframe import Timeframe
    from candelabra.progress import Reporter
    from candelabra.sources.exchanges.archives import Place
    from candelabra.sources.exchanges.vision import VisionReport
    from candelabra.sources.store import Store

__all__ = ["from_archive"]


def from_archive(
    exchange: str,
    symbols: Sequence[str],
    frame: Timeframe,
    start: int | None,
    end: int | None,
    store: Path,
    archive: str,
    *,
    funding: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Import the archives of some symbols; exit code 1 when some of them were refused."""
    from candelabra.cli.progress import reporter
    from candelabra.sources.exchanges.archives import place_of
    from candelabra.sources.store import Store

    if exchange != "binance":
        raise UsageError(f"--archive reads the archives of binance, not of {exchange}: files of others go through `candelabra import`")
    if start is None:
        raise UsageError("say from when (--since 2021-01-01): archives are looked for month by month")
    kept = Store.create(store)
    until = int(time.time() * 1000) if end is None else end
    with reporter(quiet=quiet) as progress:
        reports = asyncio.run(_all(place_of(archive), kept, symbols, frame, start, until, funding, progress))
    refused = [line for one in reports for line in one.refused]
    if as_json:
        emit_json("fetch", {"store": str(store), "archives": [asdict(one) | {"timeframe": frame.name} for one in reports]})
        return EXIT_FINDINGS if refused else 0
    for one in reports:
        rates = f", {one.funding:,} funding rates" if funding else ""
        out().print(f"{one.symbol} {frame}: {one.added:,} new bars of {len(one.files)} archives{rates}", soft_wrap=True)
        if one.absent:
            text = f"{one.symbol}: there is no archive of {', '.join(one.absent[:3])}{' …' if len(one.absent) > 3 else ''}"
            err().print(f"note: {text} ({len(one.absent)} months)", soft_wrap=True)
    for line in refused:
        err().print(f"refused: {line}", style="red", soft_wrap=True)
    out().print(
        f"the newest candles come from the exchange itself: candelabra fetch binance {' '.join(symbols)} --store {store}", soft_wrap=True
    )
    return EXIT_FINDINGS if refused else 0


async def _all(
    place: Place, store: Store, symbols: Sequence[str], frame: Timeframe, start: int, end: int, funding: bool, progress: Reporter
) -> list[VisionReport]:
    from candelabra.sources.exchanges.vision import fetch_archives

    try:
        return [await fetch_archives(place, store, s, frame, start, end, funding=funding, progress=progress) for s in symbols]
    finally:
        await place.close()

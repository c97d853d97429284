"""``store``: what candles are kept, whether they are as they were written, and what to do when they are not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson, symbol_name

if TYPE_CHECKING:
    from candelabra.sources.store import Series, Store

__all__ = ["app"]

_RAW_BYTES: Final = 48
"""A time and five values of 8 bytes: what a bar takes in memory."""

app = typer.Typer(help="Stored candles: list, verify, repair, compact, export, gaps, revisions.", no_args_is_help=True)

Root = Annotated[Path, typer.Argument(metavar="STORE", help="A store's folder.", show_default=False)]
Symbol = Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol, as in BTC/USDT.")]
Frame = Annotated[str | None, typer.Option("--timeframe", metavar="TF", help="Only this timeframe, as in 1m.")]
Exchange = Annotated[str | None, typer.Option("--exchange", metavar="NAME", help="Only this exchange, as in binance.")]
OneSymbol = Annotated[str, typer.Argument(metavar="SYMBOL", help="As in BTC/USDT.", show_default=False)]
OneFrame = Annotated[str, typer.Argument(metavar="TF", help="As in 1m.", show_default=False)]
Start = Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on (UTC), as in 2023-06-01.")]
End = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to this time (UTC), not included.")]


@app.command("list")
def list_(root: Root, symbol: Symbol = None, timeframe: Frame = None, exchange: Exchange = None, as_json: AsJson = False) -> int:
    """Show what is stored. Exit code 1 when some of it cannot be read."""
    from candelabra.candles.frame import format_minute
    from candelabra.errors import DataError

    told: list[dict[str, Any]] = []
    for series in _opened(root).series(_named(symbol), timeframe, exchange):
        names = {"exchange": series.exchange, "symbol": series.symbol, "timeframe": series.timeframe.name}
        try:
            told.append(names | asdict(series.summary()) | {"damaged": None})
        except DataError as error:
            told.append(names | {"damaged": str(error)})
    damaged = [one for one in told if one["damaged"]]
    if as_json:
        emit_json("store list", {"store": str(root), "series": told})
        return EXIT_FINDINGS if damaged else 0
    rows = []
    for one in told:
        names_ = (one["exchange"], one["symbol"] + (" (SIMULATED)" if one.get("simulated") else ""), one["timeframe"])
        if one["damaged"]:
            rows.append((*names_, "damaged", "", "", "", "", "", ""))
            continue
        share = f"{one['bytes'] / max(1, one['bars']) / _RAW_BYTES:.0%}"
        span = (format_minute(one["start_ms"]), format_minute(one["end_ms"])) if one["bars"] else ("", "")
        breaks = max(0, len(one["fetched"]) - 1)
        figures = (f"{one['tail']:,}", f"{breaks:,}", f"{one['revisions']:,}", f"{one['bytes'] / 1e6:.1f} MB ({share})")
        rows.append((*names_, f"{one['bars']:,}", *span, *figures))
    columns = ("exchange", "symbol", "timeframe", "bars", "from (UTC)", "to", "in the tail", "not fetched", "revisions", "size (of raw)")
    out().print(table(columns, rows, numbers=("bars", "in the tail", "not fetched", "revisions", "size (of raw)")))
    for one in damaged:
        out().print(f"damaged: {one['damaged']}", style="red", soft_wrap=True)
    return EXIT_FINDINGS if damaged else 0


@app.command()
def verify(root: Root, symbol: Symbol = None, timeframe: Frame = None, exchange: Exchange = None, as_json: AsJson = False) -> int:
    """Compare every byte with what was written. Exit code 1 when something is damaged, missing or unknown."""
    store = _opened(root)
    series = store.series(_named(symbol), timeframe, exchange)
    found = store.verify(_named(symbol), timeframe, exchange)
    wrong = [f for f in found if not f.harmless]
    if as_json:
        emit_json(
            "store verify",
            {"store": str(root), "sound": not wrong, "series": list(map(str, series)), "findings": [asdict(f) for f in found]},
        )
    else:
        if found:
            out().print(
                table(("series", "file", "finding"), [(f.series, f.file, f.what + (" (harmless)" if f.harmless else "")) for f in found])
            )
        if wrong:
            out().print(f"{len(wrong)} findings: `candelabra store repair {root}` saves what is sound", style="red")
        else:
            out().print(f"as it was written: {len(series)} series")
    return EXIT_FINDINGS if wrong else 0


@app.command()
def repair(root: Root, symbol: Symbol = None, timeframe: Frame = None, exchange: Exchange = None, as_json: AsJson = False) -> int:
    """Save what is sound, put what is damaged aside, and say what to fetch again (exit code 1). Deletes no candles."""
    done = _opened(root).repair(_named(symbol), timeframe, exchange)
    fetch = [m for m in done if m.fetch]
    if as_json:
        emit_json("store repair", {"store": str(root), "mended": [asdict(m) for m in done]})
    elif done:
        rows = [(m.series, m.file, m.what, _spans(m.fetch)) for m in done]
        out().print(table(("series", "file", "done", "fetch again (UTC)"), rows))
    else:
        out().print("nothing to repair")
    return EXIT_FINDINGS if fetch else 0


@app.command()
def compact(root: Root, symbol: Symbol = None, timeframe: Frame = None, exchange: Exchange = None, as_json: AsJson = False) -> int:
    """Fold the newest bars from the tails into the month files."""
    folded = _opened(root).compact(_named(symbol), timeframe, exchange)
    if as_json:
        emit_json("store compact", {"store": str(root), "folded": {str(series): bars for series, bars in folded.items()}})
    else:
        for series, bars in folded.items():
            out().print(f"{series}: {bars:,} bars folded")
    return 0


@app.command()
def export(
    root: Root,
    symbol: OneSymbol,
    timeframe: OneFrame,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="To this .parquet or .csv file.", show_default=False)],
    start: Start = None,
    end: End = None,
    exchange: Exchange = None,
    as_json: AsJson = False,
) -> int:
    """Write candles to a file, at any timeframe that can be made of what is stored."""
    from candelabra.sources.export import export_candles

    candles = _opened(root).read(symbol_name(symbol), timeframe, _ms(start), _ms(end), exchange=exchange)
    target = export_candles(candles, path)
    if candles.simulated and target.suffix == ".csv":
        err().print("note: a CSV file cannot say that its candles are SIMULATED")
    if as_json:
        facts = {"bars": len(candles), "source": candles.source.name, "span": candles.span}
        emit_json("store export", {"file": str(target), "symbol": candles.symbol, "timeframe": candles.timeframe.name, **facts})
    else:
        made = f", made of {candles.source} bars" if candles.source != candles.timeframe else ""
        out().print(f"{target}: {candles!r}{made}", soft_wrap=True)
    return 0


@app.command()
def gaps(
    root: Root,
    symbol: OneSymbol,
    timeframe: OneFrame,
    start: Start = None,
    end: End = None,
    exchange: Exchange = None,
    as_json: AsJson = False,
) -> int:
    """Show each stretch without bars, and why: exchange gap, no trade, unknown, not fetched; and what was repaired."""
    store = _opened(root)
    series = _one(store, symbol, timeframe, exchange)
    found = store.gaps(series.symbol, series.timeframe, _ms(start), _ms(end), exchange=series.exchange)
    bars = [int(series.timeframe.index(h.end_ms) - series.timeframe.index(h.start_ms)) for h in found]
    if as_json:
        told = [asdict(h) | {"bars": n} for h, n in zip(found, bars, strict=True)]
        emit_json("store gaps", {"series": str(series), "gaps": told})
    elif found:
        rows = [(h.kind, *_times(h.start_ms, h.end_ms), f"{n:,}", h.source) for h, n in zip(found, bars, strict=True)]
        out().print(table(("why", "from (UTC)", "to", "bars", "who said so"), rows, numbers=("bars",)))
    else:
        out().print(f"{series}: no gaps")
    return 0


@app.command()
def revisions(root: Root, symbol: OneSymbol, timeframe: OneFrame, exchange: Exchange = None, as_json: AsJson = False) -> int:
    """Show the stored bars that were given other values later: both values, who said so, and when."""
    from candelabra.candles.frame import VALUE_COLUMNS

    store = _opened(root)
    series = _one(store, symbol, timeframe, exchange)
    found = store.revisions(series.symbol, series.timeframe, exchange=series.exchange)
    if as_json:
        emit_json("store revisions", {"series": str(series), "revisions": [asdict(r) for r in found]})
    elif found:
        rows = []
        for r in found:
            changes = [f"{n} {a!r} -> {b!r}" for n, a, b in zip(VALUE_COLUMNS, r.old, r.new, strict=True) if a != b]
            bar, noted = _times(r.open_time_ms, r.noted_ms)
            rows.append((bar, ", ".join(changes), r.old_source, r.source, noted))
        out().print(table(("bar (UTC)", "change", "source before", "source", "noted"), rows))
    else:
        out().print(f"{series}: no revisions")
    return 0


def _opened(root: Path) -> Store:
    from candelabra.sources.store import Store

    return Store.open(root)


def _one(store: Store, symbol: str, timeframe: str, exchange: str | None) -> Series:
    return store.one(symbol_name(symbol), timeframe, exchange)


def _named(symbol: str | None) -> str | None:
    return None if symbol is None else symbol_name(symbol)


def _ms(text: str | None) -> int | None:
    from candelabra.cli.forecast import time_ms

    return None if text is None else time_ms(text)


def _times(*times: int) -> list[str]:
    from candelabra.candles.frame import format_time

    return [format_time(t) for t in times]


def _spans(spans: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(" .. ".join(_times(*span)) for span in spans)

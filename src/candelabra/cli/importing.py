"""``import``: files of candles and trades into a store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson, Quiet, symbol_name
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.sources.import_report import ImportReport
    from candelabra.sources.layout import Told

__all__ = ["import_"]

_REJECTED_SHOWN = 8


def import_(
    paths: Annotated[list[str], typer.Argument(metavar="FILES...", help="Files, folders or globs.", show_default=False)],
    into: Annotated[Path | None, typer.Option("--into", metavar="STORE", help="The store's folder; a new one is made.")] = None,
    exchange: Annotated[str | None, typer.Option("--exchange", metavar="NAME", help="Where the candles are from, as in binance.")] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Name or select the symbol, as in BTC/USDT.")] = None,
    timeframe: Annotated[str | None, typer.Option("--timeframe", metavar="TF", help="Of the bars; for trades, the bars to make.")] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="binance, kraken, cryptodatadownload, kaggle, wide, freqtrade, trades or plain (default: seen).",
        ),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="ROLE=COLUMN", help="Which column is which, as in open_time=Date; repeatable.")
    ] = None,
    time_format: Annotated[str | None, typer.Option("--time-format", metavar="FORM", help="Of dates, as in '%d.%m.%Y %H:%M'.")] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="Of dates that name none, as in Europe/Berlin (default: UTC).")
    ] = None,
    stamps: Annotated[
        str | None,
        typer.Option("--stamps", metavar="WHERE", help="Where in its bar a time lies: open, close or month-end (default: seen)."),
    ] = None,
    most_rejected: Annotated[
        float, typer.Option("--most-rejected", metavar="SHARE", help="Refuse a series when more of its rows than this are rejected.")
    ] = 0.01,
    rejected: Annotated[
        Path | None, typer.Option("--rejected", metavar="FILE.jsonl", help="Where rejected rows are listed (default: inside the store).")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Import files that were imported before once more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and store nothing.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Import candles and trades of any known form into a store. Exit code 1 when rows were rejected or files refused.

    Every row becomes (part of) a bar, or is listed with file, line and reason. A run that was killed is repeated: what is stored stays.
    """
    from candelabra.cli.progress import reporter
    from candelabra.sources.importing import Wishes, import_files
    from candelabra.sources.store import Store

    if into is None and not dry_run:
        raise UsageError("say where to store the candles (--into STORE), or only look (--dry-run)")
    wishes = Wishes(
        None if exchange is None else exchange.lower(),
        None if symbol is None else symbol_name(symbol),
        timeframe,
        _told(form, columns or [], time_format, time_zone, stamps),
        most_rejected,
        again,
    )
    store = None if dry_run or into is None else Store.create(into)
    if rejected is None and store is not None:
        rejected = store.root / ".imports" / f"rejected-{datetime.now(UTC):%Y%m%dT%H%M%S}.jsonl"
    with reporter(quiet=quiet) as progress:
        report = import_files(paths, store, wishes, rejected_file=rejected, progress=progress)
    if as_json:
        emit_json("import", report.as_dict())
    else:
        _show(report)
    return 0 if report.clean else EXIT_FINDINGS


def _told(form: str | None, columns: list[str], time_format: str | None, time_zone: str | None, stamps: str | None) -> Told:
    from typing import cast

    from candelabra.sources.layout import Stamps, Told

    mapped: dict[str, str] = {}
    for one in columns:
        role, equals, name = one.partition("=")
        if not equals or not role.strip() or not name.strip():
            raise UsageError(f"--map {one}: write ROLE=COLUMN, as in open_time=Date")
        mapped[role.strip()] = name.strip()
    return Told(form, mapped, time_format, time_zone, cast("Stamps | None", stamps))


def _show(report: ImportReport) -> None:
    console = out()
    rows = []
    for one in report.series:
        if not one.timeframe and not one.refused:
            continue
        gone = sum(one.books.left_out.values())
        if one.refused:
            stored = "refused"
        elif report.dry_run:
            stored = f"{one.bars:,} would be"
        else:
            stored = f"{one.added:,} new, {one.unchanged:,} known" + (f", {one.revised:,} revised" if one.revised else "")
            stored += " (before)" if one.before else ""
        what = (one.exchange, one.symbol, one.timeframe, one.form, f"{one.books.rows:,}", stored, f"{one.books.rejected:,}", f"{gone:,}")
        rows.append((*what, one.first, one.last))
    if rows:
        names = ("exchange", "symbol", "bars", "form", "rows", "stored", "rejected", "left out", "first", "last")
        console.print(table(names, rows, numbers=("rows", "stored", "rejected", "left out")))
    for one in report.series:
        if one.refused:
            console.print(f"refused: {one.exchange} {one.symbol} {one.timeframe}: {one.refused}", style="red", soft_wrap=True)
    for line in report.refused:
        console.print(f"refused: {line}", style="red", soft_wrap=True)
    for bad in report.rejected[:_REJECTED_SHOWN]:
        place = f"{bad.file}, line {bad.line}" if bad.line else f"{bad.file}, row {bad.row}" if bad.rows == 1 else bad.file
        console.print(f"rejected: {', '.join(p for p in (place, bad.time) if p)}: {bad.reason}  {bad.values}".rstrip(), soft_wrap=True)
    if len(report.rejected) > _REJECTED_SHOWN or report.rejected_file:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in report.kinds.items())
        console.print(
            f"rejected in all: {kinds}" + (f"; every one is in {report.rejected_file}" if report.rejected_file else ""), soft_wrap=True
        )
    books = report.books
    left = "".join(f" + {count:,} {kind}" for kind, count in books.left_out.items())
    console.print(f"{books.rows:,} rows = {books.kept:,} kept + {books.rejected:,} rejected{left}", style="bold", soft_wrap=True)
    for note in dict.fromkeys(note for one in report.series for note in one.notes):
        err().print(f"note: {note}", soft_wrap=True)

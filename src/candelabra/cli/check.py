"""``check``: are these candles fit to learn from?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson, symbol_name

if TYPE_CHECKING:
    from candelabra.candles.agreement import Agreement
    from candelabra.candles.quality import QualityReport
    from candelabra.candles.raw import RawCandles
    from candelabra.errors import CandelabraError
    from candelabra.sources.coverage import Coverage

__all__ = ["check"]


def check(
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol, as in BTC/USDT.")] = None,
    timeframe: Annotated[str | None, typer.Option("--timeframe", metavar="TF", help="Only this timeframe, as in 1h.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="PATH", help="Hold them against another source of the same markets.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="Draw coverage calendars: a square per day, coloured by what lacks and why."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Look at candles before they are trusted: findings, coverage and a verdict. Exit code 1 when some are unusable or unreadable.

    Of a store it also tells why bars are absent, what was revised, and whether its exchanges tell of the same markets. No file can show
    by itself that it is real and not made up: --against compares it bar by bar with a second source.
    """
    from candelabra.candles.quality import inspect
    from candelabra.cli.coverage import across_exchanges, coverages, draw, places, show_coverage
    from candelabra.sources.files import read_raw_apart

    series: list[RawCandles] = []
    wrong: list[CandelabraError] = []
    kept: list[Coverage] = []
    name = None if symbol is None else symbol_name(symbol)
    found_at = places(paths, name, timeframe)
    for place in found_at:
        found, refused = read_raw_apart(place.paths, symbol=name, timeframe=timeframe)
        series, wrong, kept = [*series, *found], [*wrong, *refused], [*kept, *coverages(place, found)]
    if not series and len(wrong) == 1:
        raise wrong[0]
    reports = [inspect(raw) for raw in series]
    unusable = sum(r.verdict == "unusable" for r in reports)
    compared = [] if against is None else _compared(series, against)
    across = across_exchanges(found_at, name)
    strangers = any(agreement.verdict == "not the same market" for agreement in [*compared, *across.values()])
    if picture is not None:
        draw(kept, across, picture)
    if as_json:
        told = [r.as_dict() | {"files": list(raw.files)} for r, raw in zip(reports, series, strict=True)]
        verdict = "unusable" if unusable or wrong else "usable"
        document = {"verdict": verdict, "series": told, "refused": [str(error) for error in wrong]}
        if against is not None:
            document["against"] = [agreement.as_dict() for agreement in compared]
        document["coverage"] = [one.as_dict() for one in kept]
        document["across"] = [{"first": first, "second": second} | agreement.as_dict() for (first, second), agreement in across.items()]
        if picture is not None:
            document["picture"] = str(picture)
        emit_json("check", document)
    else:
        for report, raw in zip(reports, series, strict=True):
            alone = [r.symbol == report.symbol and r.timeframe == report.timeframe for r in reports].count(True) == 1
            _show(report, "" if alone else f" ({', '.join(raw.files)})")
        show_coverage(kept)
        for (first, second), agreement in across.items():
            _show_agreement(agreement, second, first)
        for agreement in compared:
            _show_agreement(agreement, str(against))
        for error in wrong:
            out().print(f"refused: {error}", style="red", soft_wrap=True)
        if unusable:
            out().print(
                f"{unusable} of {len(reports)} series cannot be used as they are: mend the rows named above, "
                "or let `candelabra train --on-bad drop` leave them out"
            )
        if picture is not None:
            out().print(f"calendars of coverage: {picture}", soft_wrap=True)
    return EXIT_FINDINGS if unusable or wrong or strangers else 0


def _compared(series: list[RawCandles], against: str) -> list[Agreement]:
    """Each series that can be one of candles, held against the same symbol of the other source."""
    from candelabra.candles.agreement import compare
    from candelabra.errors import CandelabraError, DataError
    from candelabra.sources.files import read_candles
    from candelabra.sources.settle import settled

    others = {c.symbol: c for c in read_candles(against, on_bad="drop")}
    found = []
    for raw in series:
        other = others.get(raw.symbol)
        if other is None and len(series) == len(others) == 1:
            other = next(iter(others.values()))
        if other is None:
            raise DataError(f"{against} has no candles of {raw.symbol}: there are {', '.join(sorted(others))}")
        try:
            found.append(compare(settled(raw, "drop", int(time.time() * 1000), [], {}), other))
        except CandelabraError as error:
            err().print(f"note: {raw.symbol} {raw.timeframe} was not compared: {error}", soft_wrap=True)
    return found


def _show_agreement(agreement: Agreement, against: str, name: str = "") -> None:
    named = name or f"{agreement.symbol} {agreement.timeframe}"
    out().print(
        f"{named} against {against}: {agreement.common:,} bars in common, {agreement.differing:.2%} "
        f"differ, closes {100 * agreement.apart:.3f} % apart (median), returns correlate {agreement.correlation:.3f}"
        + (f", best when moved by {agreement.shift} bars" if agreement.shift else "")
        + f": {agreement.verdict}\n",
        style="red" if agreement.verdict == "not the same market" else None,
        soft_wrap=True,
    )


def _show(report: QualityReport, where: str) -> None:
    console = out()
    bars = f"{report.bars:,} bars, {report.first_time} .. {report.last_time} UTC"
    console.print(f"{report.symbol} {report.timeframe}{where}: {bars}", style="bold", soft_wrap=True)
    if report.findings:
        rows = [(f.kind, f"{f.count:,}", "yes" if f.fatal else "", f.first_time, f.worst) for f in report.findings]
        console.print(table(("finding", "count", "fatal", "first at", "worst"), rows, numbers=("count",)))
    present, expected = sum(m.present for m in report.coverage), sum(m.expected for m in report.coverage)
    if expected:
        holes = sorted((m for m in report.coverage if m.present < m.expected), key=lambda m: m.present / max(m.expected, 1))[:3]
        worst = "; least in " + ", ".join(f"{m.month} ({100 * m.present / m.expected:.2f} %)" for m in holes) if holes else ""
        console.print(f"coverage {100 * present / expected:.3f} % of {expected:,} bars{worst}")
    style = {"good": "green", "unusable": "red"}.get(report.verdict, "yellow")
    console.print(f"verdict: {report.verdict}\n", style=style)

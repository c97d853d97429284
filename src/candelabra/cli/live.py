"""``live``: follow an exchange with a sealed bundle: each closed candle predicted once, judged later, traded on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out
from candelabra.cli.exit_codes import EXIT_FINDINGS, EXIT_INTERRUPTED
from candelabra.cli.options import AsJson, Quiet, symbol_name
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.live.loop import Live
    from candelabra.live.run import LivePlan
    from candelabra.live.succession import Schedule

__all__ = ["follow", "live", "symbols_of"]

NO_ORDERS = "no real orders are made: what is traded is on paper"


def live(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    exchange: Annotated[str, typer.Option("--exchange", metavar="EXCHANGE", help="As in binance.")] = "binance",
    symbols: Annotated[
        list[str] | None,
        typer.Option("--symbols", "--symbol", metavar="SYMBOLS", help="As in BTC/USDT,ETH/USDT (default: those the bundle learned from)."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Catch up with what has closed, say it, and leave.")] = False,
    schedule: Annotated[bool, typer.Option("--schedule", help="By the clock alone, without a socket.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="Begin there (UTC) where the journal is new (default: the newest bar).")
    ] = None,
    store: Annotated[Path, typer.Option("--store", metavar="STORE", help="The store's folder; a new one is made.")] = Path("candles"),
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="FOLDER", help="Where to keep what was done (default: live/EXCHANGE-BUNDLE).")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper/--no-paper", help="Trade on paper by the bundle's rule.")] = True,
    retrain: Annotated[
        str | None, typer.Option("--retrain", metavar="EVERY", help="Train a challenger this often, as in 7d; it must be clearly better.")
    ] = None,
    unseen: Annotated[
        str, typer.Option("--unseen", metavar="LENGTH", help="The newest candles, which challengers do not learn from but are judged on.")
    ] = "28d",
    replay: Annotated[bool, typer.Option("--replay", help="Follow nothing: tell the journal's candles again and compare.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Follow nothing: write the journal as JSON lines.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Ask an emulator at this address; its candles are marked as SIMULATED.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Follow an exchange: predict each candle as it closes, judge each forecast when its future has come, trade on paper. No real orders.

    Interrupted or killed, the same command goes on where the journal stands. Ctrl-C ends it.
    """
    if once and (schedule or retrain):
        raise UsageError("--once catches up and leaves: leave --schedule and --retrain out")
    from candelabra.bundles.format import read_manifest
    from candelabra.config.tree import time_ms
    from candelabra.live.run import LivePlan

    place = bundle_folder(bundle)
    manifest = read_manifest(place)
    name = exchange.lower()
    folder = journal or Path("live") / f"{name}-{manifest.id}"
    if replay or export is not None:
        return _looked_into(folder, replay, export, as_json)
    wanted = symbols_of(symbols) or manifest.symbols
    plan = LivePlan(
        place, name, wanted, store, folder, "once" if once else "schedule" if schedule else "socket",
        None if since is None else time_ms(since, "--since"), paper, base_url, retrain=_schedule(retrain, unseen, folder),
    )  # fmt: skip
    unseen_symbols = [s for s in wanted if s not in manifest.symbols]
    if unseen_symbols and not quiet:
        told = f"this bundle never saw {', '.join(unseen_symbols)}: nobody has measured what its forecasts are worth there"
        err().print(f"note: {told}", soft_wrap=True)
    return follow(plan, as_json=as_json, quiet=quiet)


def follow(plan: LivePlan, *, as_json: bool = False, quiet: bool = False) -> int:
    """Run a plan with a screen, lines, or events as JSON lines; the exit code."""
    from candelabra.cli.live_screen import shown
    from candelabra.live.run import run_live

    begun: list[Live] = []
    with shown(as_json=as_json, quiet=quiet) as view:

        def begin(loop: Live) -> None:
            begun.append(loop)
            if not quiet and not as_json:
                of = f"{', '.join(plan.symbols)} {loop.frame} of {plan.exchange}"
                err().print(f"following {of} with {loop.opened.id}; {NO_ORDERS}", soft_wrap=True)
                for note in loop.opened.notes:
                    err().print(f"note: {note}", soft_wrap=True)
            view(loop)

        interrupted = run_live(plan, begin)
    if not as_json and begun:
        from candelabra.cli.live_screen import summary

        for line in summary(begun[0]):
            out().print(line, soft_wrap=True)
        err().print(f"the journal is in {plan.journal}; the same command goes on from there; --replay compares it, --export writes it out")
    return EXIT_INTERRUPTED if interrupted else 0


def symbols_of(given: list[str] | None) -> tuple[str, ...]:
    """Symbols from ``BTC/USDT,ETH/USDT`` or one by one, each once.

    >>> symbols_of(["BTC/USDT,ETHUSDT", "BTC/USDT"])
    ('BTC/USDT', 'ETH/USDT')
    """
    names = [part.strip() for text in given or () for part in text.split(",") if part.strip()]
    return tuple(dict.fromkeys(symbol_name(one) for one in names))


def _schedule(every: str | None, unseen: str, folder: Path) -> Schedule | None:
    if every is None:
        return None
    from candelabra.config.tree import duration_ms
    from candelabra.live.succession import Schedule

    length = duration_ms(every, "--retrain")
    if length <= 0:
        raise UsageError(f"--retrain {every}: a length above 0 is needed, as in 7d")
    return Schedule(length, duration_ms(unseen, "--unseen"), folder / "challengers")


def _looked_into(folder: Path, again: bool, export: Path | None, as_json: bool) -> int:
    from candelabra.live.journal import reading_journal
    from candelabra.live.replay import replay

    with reading_journal(folder) as journal:
        if export is not None:
            lines = journal.export(export)
            if as_json:
                emit_json("live", {"export": str(export), "lines": lines})
            else:
                out().print(f"{lines:,} lines in {export}", soft_wrap=True)
        if not again:
            return 0
        found = replay(journal)
    if as_json:
        emit_json("live", {"replay": {"starts": found.starts, "bars": found.bars, "unlike": found.unlike}})
    else:
        for line in found.unlike:
            out().print(line, soft_wrap=True)
        same = "every prediction has the same bits" if found.same else f"{len(found.unlike)} are not what the journal says"
        out().print(f"{found.bars:,} bars from {found.starts} starts told again: {same}")
    return 0 if found.same else EXIT_FINDINGS

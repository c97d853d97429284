"""``backtest``: what a bundle's forecasts would have earned after costs, beside buy-and-hold, staying out, and chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, out, table
from candelabra.cli.options import AsJson, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.pipeline.backtesting import BacktestResult
    from candelabra.trading.choice import Tries
    from candelabra.trading.wording import TradingRow

__all__ = ["backtest"]

_SHOWN: Final = 8


def _bps(name: str, text: str) -> Any:
    return typer.Option(name, metavar="BP", help=text)


def backtest(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATHS]...", help="Candle files, folders or globs.", show_default=False)
    ] = None,
    candles: Annotated[list[str] | None, typer.Option("--candles", metavar="PATH", help="The same; repeatable.")] = None,
    rule: Annotated[
        str,
        typer.Option(
            "--rule", metavar="RULE", help="sealed, choose (on validation), or NAME:SETTING=VALUE,... as in threshold:enter=0.003."
        ),
    ] = "sealed",
    sweep: Annotated[bool, typer.Option("--sweep", help="Choose among a thousand thresholds, on validation.")] = False,
    fee: Annotated[float | None, _bps("--fee-bps", "Fee of an order (default: as sealed).")] = None,
    slippage: Annotated[float | None, _bps("--slippage-bps", "How much worse than the open it fills.")] = None,
    slippage_volatility: Annotated[
        float | None, typer.Option("--slippage-volatility", metavar="X", help="Added to it: X times the volatility of a bar.")
    ] = None,
    funding: Annotated[float | None, _bps("--funding-bps", "Per 8 hours, paid by longs.")] = None,
    leverage: Annotated[float | None, typer.Option("--leverage", metavar="X", help="Exposure of a full position.")] = None,
    stop: Annotated[float | None, typer.Option("--stop", metavar="SHARE", help="Stop loss this far from the fill, as in 0.02.")] = None,
    take: Annotated[float | None, typer.Option("--take", metavar="SHARE", help="Take-profit order this far from the fill.")] = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the section with figures.")] = None,
    quantstats: Annotated[
        Path | None, typer.Option("--quantstats", metavar="FILE", help="Write QuantStats' tear sheet (an extra).")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Trade a bundle's forecasts on candles later than those it learned from, with the rule chosen on validation."""
    from candelabra.cli.progress import reporter

    files = [*(paths or ()), *(candles or ())]
    if not files:
        raise UsageError(f"backtest needs candles: `candelabra backtest {bundle} FILES`")
    if sweep and rule not in ("sealed", "choose"):
        raise UsageError(f"--sweep chooses a rule and --rule {rule} names one: leave one of them out")
    changed = {
        "taker": None if fee is None else fee * 1e-4,
        "maker": None if fee is None else fee * 0.5e-4,
        "slippage": None if slippage is None else slippage * 1e-4,
        "slippage_volatility": slippage_volatility,
        "funding": None if funding is None else funding * 1e-4,
        "leverage": leverage,
        "stop": stop,
        "take": take,
    }
    costs = {name: value for name, value in changed.items() if value is not None}
    if quantstats is not None:
        from candelabra.trading.tearsheet import require_quantstats

        require_quantstats()
    tree = settings(paths=files, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        from candelabra.bundles.verify import require_sealed

        place = bundle_folder(bundle)
        require_sealed(place)
        given = read(tree, progress)
        from candelabra.pipeline.backtesting import backtest_bundle, rule_of

        wanted: Any = "sweep" if sweep else rule if rule in ("sealed", "choose") else rule_of(rule)
        found = backtest_bundle(place, given, rule=wanted, costs=costs, progress=progress)
        if html is not None:
            from candelabra.pipeline.present_trading import write_page

            with progress.stage("draw the section"):
                write_page(found.study, found.choice, found.manifest, html)
        if quantstats is not None:
            from candelabra.trading.tearsheet import write_tearsheet

            with progress.stage("QuantStats"):
                write_tearsheet(found.study.run, found.study.hold, quantstats)
    written = {"html": html, "quantstats": quantstats}
    _show(found, as_json, {name: str(path) for name, path in written.items() if path is not None})
    return 0


def _show(found: BacktestResult, as_json: bool, written: dict[str, str]) -> None:
    from candelabra.pipeline.present_trading import in_a_sentence, origin
    from candelabra.trading.wording import conclusion, verdict

    rows, told = verdict(found.study), conclusion(found.study)
    if as_json:
        values = found.study.as_dict() | {"verdict": [row.as_dict() for row in rows], "conclusion": told[0]}
        choice = None if found.choice is None else found.choice.as_dict()
        if found.tries is not None:
            best = found.tries.ranked()[:_SHOWN]
            values["validation"] = [
                {"rule": in_a_sentence(found.tries.rules[k]), "sharpe": found.tries.sharpe[k], "growth": found.tries.growth[k]}
                for k in best
            ]
        emit_json("backtest", {"bundle": found.manifest.id, "choice": choice, **values, "notes": found.notes, "written": written})
        return
    from candelabra.candles.frame import format_minute

    start, end = (format_minute(t) for t in found.study.span_ms)
    console = out()
    mark = " (SIMULATED)" if found.study.run.grid.simulated or found.manifest.simulated else ""
    console.print(f"{', '.join(found.study.symbols)}{mark}, {start} to {end} UTC", style="bold")
    console.print(f"rule: {in_a_sentence(found.study.rule)}, {origin(found.choice)}", soft_wrap=True)
    if found.tries is not None:
        console.print(_tries(found.tries))
    console.print(_table(rows))
    for note in found.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for name, path in written.items():
        console.print(f"{name}: {path}", soft_wrap=True)


def _tries(tries: Tries) -> Any:
    from candelabra.pipeline.present_trading import in_a_sentence

    made = []
    for k in tries.ranked()[:_SHOWN]:
        figures = (f"{tries.sharpe[k]:.2f}", f"{100 * tries.growth[k]:+.1f} %", f"{tries.orders[k]:,}")
        made.append((in_a_sentence(tries.rules[k]), *figures))
    title = f"Validation: the first {len(made)} of {len(tries.rules):,} rules by Sharpe ratio (the judged range had no part in it)"
    return table(("rule", "Sharpe", "net return", "orders"), made, title=title, numbers=("Sharpe", "net return", "orders"))


def _table(rows: Sequence[TradingRow]) -> Any:
    from rich.text import Text

    made = table(("what", "figure", "95 % interval", "verdict"), (), title="Backtest, net of costs", numbers=("figure", "95 % interval"))
    for row in rows:
        style = "bold magenta" if row.flag else {True: "green", False: "red", None: ""}[row.good]
        made.add_row(Text(row.what), Text(row.figure), Text(row.interval), Text(row.words, style=style))
    return made

"""A backtest for the report: a `Study` as the arrays and texts its section draws."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from candelabra.bundles.format import Manifest
from candelabra.report import digits
from candelabra.report import inputs as page
from candelabra.report.page import write_section
from candelabra.trading.choice import Choice
from candelabra.trading.performance import Performance
from candelabra.trading.rules import Rule, told
from candelabra.trading.study import Study
from candelabra.trading.wording import verdict

__all__ = ["in_a_sentence", "origin", "trading", "write_page"]


def trading(found: Study, choice: Choice | None) -> page.TradingView:
    """What the section on trading shows; ``choice``: where the rule comes from, None for one named by hand."""
    run, account = found.run, found.run.account
    purse = account.purse
    funding = f", funding {1e4 * account.funding:.3g} bp per {account.funding_hours:g} hours" if account.funding else ""
    fee, slippage = (f"{1e4 * share:.3g} bp" for share in (account.taker, account.slippage))
    costs = f"Orders fill at the open of the next bar and pay {fee} in fees and {slippage} of slippage{funding}."
    return page.TradingView(
        rule=in_a_sentence(found.rule),
        origin=origin(choice),
        costs=costs,
        verdict=tuple(
            page.TradingLine(
                r.what,
                _minus(r.figure),
                _minus(r.interval),
                _minus(r.words),
                "level" if r.good is None else "better" if r.good else "worse",
            )
            for r in verdict(found)
        ),
        time_ms=run.grid.close_time,
        equity=run.equity / purse,
        hold=found.hold.equity / purse,
        exposure=run.exposure,
        symbols=tuple(_symbol(found, i) for i in range(len(found.symbols))),
        figures=tuple(_figures(found.figures, found.hold_figures)),
        cost_bps=np.array([1e4 * c for c, _ in found.cost_curve]),
        cost_growth=np.array([g for _, g in found.cost_curve]),
        paid_bps=1e4 * account.per_side,
        chance=found.chance.growth,
        growth=run.growth,
        months=found.months,
    )


def origin(choice: Choice | None) -> str:
    """Where a rule comes from, in words.

    >>> from candelabra.trading.rules import Flat
    >>> origin(Choice(Flat(), 52, 0.0, 0.0, 900)), origin(None)
    ('for none of the 52 tried on validation earned its costs', 'named by hand')
    """
    if choice is None:
        return "named by hand"
    if choice.rule.name == "flat":
        return f"for none of the {choice.tried:,} tried on validation earned its costs"
    return f"the best of {choice.tried:,} tried on validation, after costs"


def _minus(text: str) -> str:
    """Text with real minus signs before digits, as everywhere on the page."""
    return re.sub(r"(?<![\w])-(?=\d)", "\u2212", text)


def in_a_sentence(rule: Rule) -> str:
    """A rule with its settings.

    >>> from candelabra.trading.rules import Band
    >>> in_a_sentence(Band(factor=2.0))
    'band (factor 2, side long, size 1)'
    """
    values = told(rule)
    name = str(values.pop("name"))
    said = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items() if v != "")
    return f"{name.replace('_', ' ')} ({said})" if said else name.replace("_", " ")


def _symbol(found: Study, i: int) -> page.TradedSymbol:
    grid, run = found.run.grid, found.run
    there = np.flatnonzero(np.isfinite(grid.close[:, i]))
    fills: list[tuple[int, float, str]] = []
    for trade in run.trades:
        if trade.symbol == found.symbols[i]:
            fills.append((int(grid.open_time[trade.opened]), trade.entry, "long" if trade.units > 0.0 else "short"))
            if trade.reason != "open":
                fills.append((int(grid.open_time[trade.closed]), trade.exit, "out" if trade.reason == "rule" else trade.reason))
    fills.sort()
    return page.TradedSymbol(
        symbol=found.symbols[i],
        time_ms=grid.close_time[there],
        close=grid.close[there, i],
        fill_time_ms=np.array([t for t, _, _ in fills], np.int64),
        fill_price=np.array([p for _, p, _ in fills], np.float64),
        fill_kind=tuple(kind for _, _, kind in fills),
    )


def _figures(ours: Performance, hold: Performance) -> list[tuple[str, str, str]]:
    def percent(name: str, what: str) -> tuple[str, str, str]:
        return what, digits.percent(getattr(ours, name)), digits.percent(getattr(hold, name))

    def plain(name: str, what: str) -> tuple[str, str, str]:
        return what, digits.fixed(getattr(ours, name), 2), digits.fixed(getattr(hold, name), 2)

    def turnover(p: Performance) -> str:
        return f"{p.turnover:,.1f}x" if math.isfinite(p.turnover) else digits.DASH

    return [
        percent("growth", "Net return"),
        percent("cagr", "a year"),
        percent("volatility", "Volatility a year"),
        plain("sharpe", "Sharpe"),
        plain("sortino", "Sortino"),
        plain("calmar", "Calmar"),
        percent("max_drawdown", "Largest drawdown"),
        ("Longest drawdown, bars", f"{ours.drawdown_bars:,}", f"{hold.drawdown_bars:,}"),
        percent("exposure", "Mean exposure"),
        percent("in_market", "Time in the market"),
        ("Turnover a year", turnover(ours), turnover(hold)),
        ("Trades", f"{ours.trades:,}", f"{hold.trades:,}"),
        percent("hit_rate", "Trades that earned"),
        plain("profit_factor", "Profit factor"),
        percent("fees", "Fees, of the purse"),
        percent("slippage", "Slippage, of the purse"),
    ]


def write_page(found: Study, choice: Choice | None, manifest: Manifest, path: Path) -> None:
    """Write the section alone, with its figures, as one file that asks nobody for anything."""
    facts = page.RunFacts(
        symbols=found.symbols,
        timeframes=(found.run.grid.timeframe.name,),
        ranges=(),
        model=manifest.model,
        bundle_id=manifest.id,
        seed=manifest.seed,
        created_ms=manifest.created_ms,
        version=manifest.version,
        simulated=manifest.simulated or found.run.grid.simulated,
        trials=found.trials,
    )
    write_section(page.ReportInputs(run=facts, trading=trading(found, choice)), "trading", path)

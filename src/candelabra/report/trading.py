"""What the forecasts would have earned: equity beside buy-and-hold, fills on the chart, costs, chance, months."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, layout, line, thin, times
from candelabra.report.inputs import Floats, ReportInputs, TradedSymbol, TradingView
from candelabra.report.markup import Cell, Section, caption, choices, figure, note, number, pair, table, words

__all__ = ["section"]

MOST_ROWS = 1500
MOST_FILLS = 600
_MARKS = {
    "long": ("bought", "triangle-up", "@ours"),
    "short": ("sold short", "triangle-down", "@oracle"),
    "out": ("closed", "circle-open", "@ink"),
    "stop": ("stopped", "x", "@ink"),
    "take": ("profit taken", "star", "@ours"),
    "liquidation": ("liquidated", "x-open", "@ink"),
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
INTRODUCTION = "A good forecast need not earn: costs, chance and buy-and-hold stand beside every figure."


def section(inputs: ReportInputs) -> Section | None:
    """The backtest of the product; nothing when there was none."""
    view = inputs.trading
    if view is None or not len(view.time_ms):
        return None
    idle = not any(len(s.fill_kind) for s in view.symbols)
    body = note(f"Rule: {view.rule}, {view.origin}. {view.costs}") + note(INTRODUCTION, "aside") + _verdict(view)
    body += figure("equity", _equity(view), "Equity, drawdown and exposure", _equity_says(view, idle))
    if not idle:
        body += choices("trades-choice", [(s.symbol, _fills(i, s)) for i, s in enumerate(view.symbols)], "Symbol")
        costs = figure("costs", _costs(view), "Net return by cost of an order", _costs_says(view))
        if len(view.chance):
            chance = figure("chance", _chance(view), "The same positions at random times", _chance_says(view))
            body += f'<div class="grid">{costs}{chance}</div>'
        else:
            body += pair(costs)
    body += _tables(view)
    return Section("trading", "Backtest: what it would have earned", "Backtest", body)


def _verdict(view: TradingView) -> str:
    rows = [[words(v.what, "strong"), number(v.figure), number(v.interval), words(v.words, "chip")] for v in view.verdict]
    return table(("What", "Figure", "95 % interval", "In words"), rows, css="verdict", row_css=[v.tone for v in view.verdict])


def _drawdown(equity: Floats) -> Floats:
    peak = np.maximum.accumulate(np.maximum(equity, 1.0))
    return 100.0 * (equity / peak - 1.0)


def _rows(view: TradingView) -> list[int]:
    """Evenly spaced bars, with the lowest points of both curves among them."""
    rows = set(thin(len(view.time_ms), MOST_ROWS).tolist())
    for curve in (view.equity, view.hold):
        rows |= {int(np.argmin(_drawdown(curve))), int(np.argmax(curve))}
    return sorted(rows)


def _equity(view: TradingView) -> Spec:
    rows = _rows(view)
    x = times(view.time_ms[rows])
    below: Spec = {"xaxis": "x", "yaxis": "y2", "showlegend": False}
    data = [
        line(x, column(view.hold[rows], 5), "buy-and-hold", "@grey", 1.3),
        line(x, column(view.equity[rows], 5), "the rule, net of costs", "@ours", 1.8),
        line(x, column(_drawdown(view.hold)[rows], 4), "buy-and-hold, drawdown", "@grey", 1.1) | below,
        line(x, column(_drawdown(view.equity)[rows], 4), "the rule, drawdown", "@ours", 1.5) | below,
        line(x, column(100.0 * view.exposure[rows], 4), "the rule, exposure", "@ours", 1.1)
        | {"xaxis": "x", "yaxis": "y3", "showlegend": False, "line": {"color": "@ours", "width": 1.1, "shape": "hv"}},
    ]
    axes: Spec = {
        "xaxis": {"type": "date", "anchor": "y3"},
        "yaxis": {"domain": [0.48, 1.0], "title": {"text": "multiple of the purse"}},
        "yaxis2": {"domain": [0.21, 0.44], "title": {"text": "below peak, %"}},
        "yaxis3": {"domain": [0.0, 0.16], "title": {"text": "held, %"}, "rangemode": "tozero"},
    }
    return {"data": data, "layout": layout(540, hovermode="x unified", **axes)}


def _equity_says(view: TradingView, idle: bool) -> str:
    if idle:
        return "No order was made: the line of the rule is flat, and that is its whole result."
    deepest = [digits.percent(float(_drawdown(c).min()) / 100.0) for c in (view.equity, view.hold)]
    return (
        "The purse over time, net of all costs, beside buying once and holding (which pays for its purchase too). Below: how far each was "
        f"under its peak, at worst {deepest[0]} and {deepest[1]}; and how much of the purse the rule's positions were."
    )


def _fills(i: int, symbol: TradedSymbol) -> str:
    rows = thin(len(symbol.time_ms), MOST_ROWS)
    shown = np.arange(len(symbol.fill_kind))[-MOST_FILLS:]
    data = [line(times(symbol.time_ms[rows]), column(symbol.close[rows], 6), "close", "@candle", 1.1)]
    for kind, (name, mark, colour) in _MARKS.items():
        own = [k for k in shown.tolist() if symbol.fill_kind[k] == kind]
        if own:
            dots: Spec = {"type": "scatter", "mode": "markers", "name": label(name), "x": times(symbol.fill_time_ms[own])}
            dots |= {
                "y": column(symbol.fill_price[own], 6),
                "marker": {"color": colour, "symbol": mark, "size": 7, "line": {"width": 1, "color": colour}},
            }
            data.append(dots | {"hovertemplate": f"{name} at %{{y:,.6~g}}<extra>%{{x}}</extra>"})
    spec: Spec = {"data": data, "layout": layout(360, xaxis={"type": "date"}, yaxis={"title": {"text": "price"}})}
    count = len(symbol.fill_kind)
    says = f"{digits.count(count, 'position')} opened or closed; resizing in between is not drawn. Zoom in to see bars."
    if len(shown) < count:
        says = f"The last {len(shown):,} of {count:,} fills that opened or closed a position; resizing is not drawn. Zoom in to see bars."
    return figure(f"trades-{i}", spec, f"Where {symbol.symbol} was traded", says)


def _costs(view: TradingView) -> Spec:
    y = 100.0 * view.cost_growth
    zero = line([0, float(view.cost_bps[-1])], [0, 0], "nothing earned", "@muted", 1, dash="dot", hoverinfo="skip", showlegend=False)
    paid: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": [view.paid_bps],
        "y": column([100.0 * view.growth], 4),
        "name": "as backtested",
    }
    paid |= {"marker": {"color": "@ink", "size": 9, "symbol": "diamond"}, "hovertemplate": "%{y:.1f} % at %{x:.3g} bp<extra></extra>"}
    data = [zero, line(column(view.cost_bps), column(y, 4), "the same decisions", "@ours", 1.8, mode="lines+markers"), paid]
    axes: Spec = {"xaxis": {"title": {"text": "fee and slippage of an order, basis points"}}, "yaxis": {"title": {"text": "net return, %"}}}
    return {"data": data, "layout": layout(340, **axes)}


def _costs_says(view: TradingView) -> str:
    free = digits.percent(float(view.cost_growth[0]))
    return f"For free the same decisions make {free}; where the line crosses 0 is the break-even cost. The diamond is what was backtested."


def _chance(view: TradingView) -> Spec:
    growth = 100.0 * view.chance
    counts, edges = np.histogram(growth, bins=30)
    bars: Spec = {"type": "bar", "x": column((edges[1:] + edges[:-1]) / 2.0, 4), "y": counts.tolist(), "marker": {"color": "@grey"}}
    bars |= {"width": column(np.diff(edges), 4), "name": "random times", "hovertemplate": "%{x:.1f} %: %{y} draws<extra></extra>"}
    here = column([100.0 * view.growth, 100.0 * view.growth], 4)
    ours = line(here, [0, int(counts.max())], "the rule", "@ours", 2.5)
    axes: Spec = {"xaxis": {"title": {"text": "net return, %"}}, "yaxis": {"title": {"text": "draws"}}, "bargap": 0.05}
    return {"data": [bars, ours], "layout": layout(340, **axes)}


def _chance_says(view: TradingView) -> str:
    return (
        f"{digits.count(len(view.chance), 'draw')} of the same positions moved to random times: same exposure, turnover and costs. "
        "Timing is skill only where the line stands beyond nearly all of them."
    )


def _tables(view: TradingView) -> str:
    head = ("Figure", "The rule", "Buy-and-hold")
    figures = table(head, [[words(n), number(a, css="ours"), number(b)] for n, a, b in view.figures])
    return f"<h3>Figures</h3>{figures}<h3>Months</h3>{_months(view)}" + caption(
        "Net return of each calendar month (UTC), the rule above buy-and-hold; the last column compounds what is there of the year."
    )


def _months(view: TradingView) -> str:
    years = sorted({month[:4] for month, _, _ in view.months})
    rows: list[list[Cell]] = []
    for year in years:
        for place, name in ((1, "the rule"), (2, "buy-and-hold")):
            found = {int(m[0][5:7]): float(m[place]) for m in view.months if m[0].startswith(year)}
            whole = float(np.prod([1.0 + v for v in found.values()])) - 1.0
            cells = [_share(found.get(k), place == 1) for k in range(1, 13)]
            rows.append([words(year if place == 1 else ""), words(name, "" if place == 1 else "muted"), *cells, _share(whole, place == 1)])
    return table(("Year", "", *_MONTHS, "Year"), rows)


def _share(value: float | None, ours: bool) -> Cell:
    text = digits.DASH if value is None else digits.signed(digits.percent(value))
    return number(text, value, css="ours" if ours else "")

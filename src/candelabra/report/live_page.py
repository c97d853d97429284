"""`live_page`: what a live run did, as one file: candles, each forecast's band where it came true or not, regimes, states, paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.report.charts import Spec, column, label, layout, line, times
from candelabra.report.markup import escape, figure, note
from candelabra.report.page import NO_SCRIPT, document
from candelabra.report.verdict import SIMULATED

__all__ = ["LiveView", "live_page"]

Floats = NDArray[np.float64]
Spells = Sequence[tuple[int, int, str]]
_COLOURS = tuple(f"@regime{k}" for k in range(3, 10))
_NAMED = {"bullish": "@regime0", "bearish": "@regime1", "sideways": "@regime2", "unknown": "@line"}
_FILLS = ("@ours90", "@ours80", "@ours50")
_STATES = {"live": "@regime0", "warming": "@grey", "stale": "@regime6", "recovering": "@regime3", "halted": "@ink"}


@dataclass(frozen=True, eq=False)
class LiveView:
    """One symbol of a live run. ``bands`` by horizon: times (ms) at which forecasts came due, and their ``low`` and ``high`` prices.

    ``regimes`` by timeframe and ``states``: spells ``(from ms, to ms, name)``; ``equity``: times and the paper account. ``facts``: names
    and values for the head, ``said``: lines below the figure.
    """

    candles: Candles
    bands: Mapping[str, tuple[NDArray[np.int64], Floats, Floats]]
    regimes: Mapping[str, Spells]
    states: Spells
    equity: tuple[NDArray[np.int64], Floats]
    facts: Sequence[tuple[str, str]]
    said: Sequence[str]


def live_page(view: LiveView) -> str:
    """HTML that asks nobody for anything."""
    says = "Bars are candles; each band spans what 90 % of outcomes should lie in, drawn where its forecast came due."
    picture = figure("live", _figure(view), f"{view.candles.symbol} as it was followed", says)
    lines = "".join(note(text) for text in view.said)
    body = f'<section id="live" class="first">{picture}{lines}</section>'
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in view.facts)
    banner = f'<p class="banner" role="note"><b>Simulated market.</b> {escape(SIMULATED)}</p>' if view.candles.simulated else ""
    head = f'<p class="eyebrow">candelabra live</p><h1>{escape(view.candles.symbol)}</h1><dl class="facts">{facts}</dl>'
    return document(f"{view.candles.symbol} · live", f'<main>{banner}<header class="top">{head}</header>{NO_SCRIPT}{body}</main>')


def _figure(view: LiveView) -> Spec:
    c = view.candles
    prices = {name: column(getattr(c, name), 7) for name in ("open", "high", "low", "close")}
    up: Spec = {"increasing": {"line": {"color": "@ink", "width": 1}, "fillcolor": "@paper"}}
    down: Spec = {"decreasing": {"line": {"color": "@ink", "width": 1}, "fillcolor": "@ink"}}
    data: list[Spec] = []
    for place, (horizon, (due, low, high)) in enumerate(reversed(list(view.bands.items()))):  # the longest first: it lies behind
        fill = {"fill": "tonexty", "fillcolor": _FILLS[min(place, len(_FILLS) - 1)], "hoverinfo": "skip"}
        data += [
            line(times(due), column(low, 7), f"90 % of {horizon}", "@oursSoft", 0.6, showlegend=False, hoverinfo="skip"),
            line(times(due), column(high, 7), f"90 % of {horizon} ahead", "@oursSoft", 0.6, **fill),
        ]
    middle = (c.open_time + c.close_time) // 2
    data.append({"type": "candlestick", "x": times(middle), **prices, **up, **down, "name": "candles", "showlegend": False})
    rows = [*view.regimes.items(), ("state", view.states)]
    named = dict.fromkeys(name for tf, spells in rows if tf != "state" for _, _, name in spells)
    others = [name for name in named if name not in _NAMED]
    tones = _NAMED | {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(others)}
    for place, (_, spells) in enumerate(rows):
        for start, end, name in spells:
            tone = _STATES.get(name) or tones.get(name, "@grey")
            data.append(
                {
                    "type": "bar", "orientation": "h", "base": [start], "x": [end - start], "y": [-place], "width": 0.8, "yaxis": "y2",
                    "marker": {"color": tone, "opacity": 0.75}, "name": label(name), "text": [label(name)], "textposition": "inside",
                    "showlegend": False, "hovertemplate": f"{label(name)}<extra></extra>",
                }
            )  # fmt: skip
    when, equity = view.equity
    data.append(line(times(when), column(equity, 7), "paper equity", "@ours", 1.5, yaxis="y3", showlegend=False))
    span = [int(c.open_time[0]), int(c.close_time[-1])]
    axes: Spec = {
        "xaxis": {"type": "date", "range": span, "anchor": "y3", "rangeslider": {"visible": False}},
        "yaxis": {"domain": [0.42, 1.0], "side": "right", "title": {"text": "price"}},
        "yaxis2": {
            "domain": [0.22, 0.39], "range": [-len(rows) + 0.5, 0.5], "tickvals": [-k for k in range(len(rows))],
            "ticktext": [label(name) for name, _ in rows], "showgrid": False, "fixedrange": True,
        },
        "yaxis3": {"domain": [0.0, 0.19], "side": "right", "title": {"text": "on paper"}},
    }  # fmt: skip
    return {"data": data, "layout": layout(620, barmode="overlay", bargap=0, margin={"l": 56, "r": 72, "t": 30}, **axes)}

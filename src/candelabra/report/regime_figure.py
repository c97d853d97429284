"""Candles with their regimes under them, a band for each timeframe and the probabilities: one figure with one time axis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, layout, line, log_axis, thin, times
from candelabra.report.regime_alarms import alarm_marks
from candelabra.report.regime_view import BandView, Floats, RegimeView, Times

__all__ = ["MOST_CANDLES", "figure_spec"]

MOST_CANDLES = 400
MOST_ROWS = 2_500
MOST_SEGMENTS = 1_500  # of a band
_WRITTEN = 0.085  # share of the width from which a segment has its label written on it
_BAND, _PRICE, _SHARES, _GAP = 24, 300, 110, 14  # heights in pixels


def figure_spec(view: RegimeView, colour: dict[str, str], *, newest: bool, probabilities: bool = True) -> Spec:
    """The figure: the ``newest`` candles, or the close over all time as a line.

    One bar trace a label draws its segments of every timeframe, so that the legend hides and shows a regime everywhere. The regimes of the
    finest timeframe stand pale behind the price. Provisional segments are hatched, alarms marked.
    """
    keep = slice(max(0, len(view.close) - MOST_CANDLES), None) if newest else slice(None)
    since, until = int(view.open_time[keep][0]), int(view.close_time[-1])
    bands = [_cut(band, since) for band in view.bands]
    plot = _PRICE + _GAP + len(bands) * _BAND + ((_GAP + _SHARES) if probabilities else 0)
    edges = _domains(len(bands), probabilities, plot)
    data = _segments(bands, colour, since, until)
    data += _candles(view, keep) if len(view.close[keep]) <= MOST_CANDLES else _closes(view)
    if probabilities:
        data += _shares(view, keep, colour)
    low, high = float(np.min(view.low[keep])), float(np.max(view.high[keep]))
    data += alarm_marks(view, since, low, high)
    hidden: Spec = {"visible": False, "fixedrange": True, "range": [0, 1]}
    axes: Spec = {
        "xaxis": {"type": "date", "range": [since, until], "anchor": "y4" if probabilities else "y3", "rangeslider": {"visible": False}},
        "yaxis": {"domain": edges["price"], **hidden},
        "yaxis2": {"overlaying": "y", "side": "right", "title": {"text": "price"}} | _price_axis(low, high),
        "yaxis3": {
            "domain": edges["bands"], "range": [-len(bands) + 0.5, 0.5], "tickvals": [-k for k in range(len(bands))],
            "ticktext": [label(band.timeframe) for band in bands], "showgrid": False, "fixedrange": True, "ticks": "outside", "ticklen": 5,
            "tickcolor": "rgba(0,0,0,0)",
        },
    }  # fmt: skip
    if probabilities:
        ticks: Spec = {"tickvals": [0, 0.5, 1], "ticktext": ["0", "0.5", "1"], "title": {"text": label(f"p, {view.timeframe}")}}
        axes["yaxis4"] = {"domain": edges["shares"], "range": [0, 1], "side": "right", "fixedrange": True, **ticks}
    return {"data": data, "layout": layout(plot + 84, barmode="overlay", bargap=0, margin={"l": 48, "r": 72, "t": 40}, **axes)}


def _price_axis(low: float, high: float) -> Spec:
    """Linear, or logarithmic where the price has multiplied: a fall by half is then as deep anywhere."""
    if high > 3 * low:
        return log_axis(low / 1.05, high * 1.05)
    pad = 0.04 * (high - low)
    return {"range": column([low - pad, high + pad], 6), "tickmode": "auto", "nticks": 7}


def _domains(bands: int, probabilities: bool, plot: int) -> dict[str, list[float]]:
    """Shares of the height for price, bands and probabilities, from above."""
    bottom = (_SHARES + _GAP) / plot if probabilities else 0.0
    middle = bottom + bands * _BAND / plot
    found = {"shares": [0.0, _SHARES / plot], "bands": [bottom, middle], "price": [middle + _GAP / plot, 1.0]}
    return {name: [round(edge, 4) for edge in pair] for name, pair in found.items()}


def _cut(band: BandView, since: int) -> BandView:
    """The segments that end after a time, at most so many."""
    keep = np.flatnonzero(band.end > since)[-MOST_SEGMENTS:]
    rows = keep.tolist()
    return replace(
        band, start=np.maximum(band.start[keep], since), end=band.end[keep], label=tuple(band.label[k] for k in rows), age=band.age[keep],
        mean_probability=band.mean_probability[keep], least_probability=band.least_probability[keep], remaining=band.remaining[keep],
        confirmed=band.confirmed[keep], follows=tuple(band.follows[k] for k in rows),
    )  # fmt: skip


def _segments(bands: list[BandView], colour: dict[str, str], since: int, until: int) -> list[Spec]:
    """For each label its pale bars behind the price and its full ones in the bands."""
    data: list[Spec] = []
    for name, tone in colour.items():
        own = [(place, band, [k for k, word in enumerate(band.label) if word == name]) for place, band in enumerate(bands)]
        if not any(rows for _, _, rows in own):
            continue
        behind = own[0]
        for pale, parts in ((True, [behind]), (False, own)):
            trace: Spec = {"type": "bar", "orientation": "h", "base": [], "x": [], "y": [], "name": label(name), "legendgroup": label(name)}
            hover: list[list[str]] = []
            hatched: list[str] = []
            words: list[str] = []
            for place, band, rows in parts:
                trace["base"] += times(band.start[rows])
                trace["x"] += (band.end[rows] - band.start[rows]).tolist()
                trace["y"] += [0.5 if pale else -place] * len(rows)
                for k in rows:
                    hover.append(_told(band, k))
                    hatched.append("" if band.confirmed[k] else "/")
                    wide = min(int(band.end[k]), until) - max(int(band.start[k]), since) > _WRITTEN * (until - since)
                    words.append(label(name) if wide else "")
            if pale:
                trace |= {"width": 1, "yaxis": "y", "opacity": 0.22, "showlegend": False, "hoverinfo": "skip", "marker": {"color": tone}}
            else:
                trace |= {
                    "width": 0.86,
                    "yaxis": "y3",
                    "customdata": hover,
                    "text": words,
                    "textposition": "inside",
                    "insidetextanchor": "middle",
                }
                trace |= {"insidetextfont": {"size": 11}, "constraintext": "none", "cliponaxis": True, "textangle": 0}
                trace["marker"] = {"color": tone, "line": {"color": "@paper", "width": 0.6}}
                if any(hatched):
                    trace["marker"]["pattern"] = {"shape": hatched, "size": 6, "solidity": 0.35, "fgcolor": "@paper", "fillmode": "overlay"}
                trace["hovertemplate"] = (
                    f"<b>{label(name)}</b> %{{customdata[0]}}<br>%{{customdata[1]}}<br>%{{customdata[2]}}<extra></extra>"
                )
            data.append(trace)
    return data


def _told(band: BandView, k: int) -> list[str]:
    span = f"{digits.moment(int(band.start[k]))} to {digits.moment(int(band.end[k]))}"
    sure = f"{digits.count(int(band.age[k]), 'bar')}, probability {digits.fixed(float(band.mean_probability[k]), 2)}"
    low = f" (at least {digits.fixed(float(band.least_probability[k]), 2)})"
    late = f", said {digits.count(band.lag, 'bar')} late" if band.lag else ""
    return [label(band.timeframe) + late, span, sure + low + ("" if band.confirmed[k] else ", provisional")]


def _candles(view: RegimeView, keep: slice) -> list[Spec]:
    prices = {name: column(getattr(view, name)[keep], 6) for name in ("open", "high", "low", "close")}
    step = int(np.median(view.close_time[keep] - view.open_time[keep]))
    body: Spec = {"increasing": {"line": {"color": "@ink", "width": 1}, "fillcolor": "@paper"}}
    body["decreasing"] = {"line": {"color": "@ink", "width": 1}, "fillcolor": "@ink"}
    place: Spec = {"x": times(view.open_time[keep]), "xperiod": step, "xperiodalignment": "middle", "yaxis": "y2", "showlegend": False}
    return [{"type": "candlestick", "name": label(view.symbol), **prices, **place, **body}]


def _closes(view: RegimeView) -> list[Spec]:
    rows = thin(len(view.close), MOST_ROWS)
    drawn = line(times(view.close_time[rows]), column(view.close[rows], 6), view.symbol, "@ink", 1.1, yaxis="y2", showlegend=False)
    return [drawn | {"hovertemplate": "close %{y:,.6~g}<extra>%{x}</extra>"}]


def _shares(view: RegimeView, keep: slice, colour: dict[str, str]) -> list[Spec]:
    """Probabilities of the finest timeframe, stacked; over a long time means of some bars each."""
    time, values = _averaged(view.close_time[keep], view.probabilities[keep])
    data = []
    for k, name in enumerate(view.labels):
        area: Spec = {"type": "scatter", "mode": "lines", "x": times(time), "y": column(values[:, k], 3), "name": label(name)}
        area |= {"stackgroup": "p", "yaxis": "y4", "line": {"width": 0, "color": colour[name]}, "fillcolor": colour[name]}
        area |= {"legendgroup": label(name), "showlegend": False, "hovertemplate": f"{label(name)} %{{y:.2f}}<extra>%{{x}}</extra>"}
        data.append(area)
    return data


def _averaged(time: Times, values: Floats, most: int = 800) -> tuple[Times, Floats]:
    block = -(-len(time) // most)
    first = np.arange(0, len(time), max(1, block))
    known = np.isfinite(values)
    count = np.add.reduceat(known.astype(np.int64), first, axis=0)
    total = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    stop = np.append(first[1:], len(time)) - 1
    return time[stop], np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

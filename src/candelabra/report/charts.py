"""Figures as plain plotly specifications: rounded, thinned, and coloured by *name* so that the page can follow light and dark.

A colour is written ``"@ours"``; the page's script replaces it by the palette of the day. User's text goes through :func:`label`, because
plotly reads a small HTML (links among it) in names and titles.
"""

from __future__ import annotations

import html
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ROLE_COLOUR", "Spec", "column", "columns_of_axes", "label", "layout", "line", "log_axis", "panel_title", "thin", "times"]

Spec: TypeAlias = dict[str, Any]

ROLE_COLOUR = {"ours": "@ours", "member": "@oursSoft", "baseline": "@grey", "oracle": "@oracle"}


def label(text: object) -> str:
    """Text that plotly shows as it is.

    >>> label("<b>BTC</b>")
    '&lt;b&gt;BTC&lt;/b&gt;'
    """
    return html.escape(str(text), quote=False)


def column(values: ArrayLike, digits: int = 5) -> list[float | None]:
    """Numbers rounded to significant digits for the page; what is not finite becomes null.

    >>> column([27123.456, float("nan"), 0.000123456])
    [27123.0, None, 0.00012346]
    """
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in np.asarray(values, np.float64).tolist()]


def times(values: ArrayLike) -> list[int]:
    """Times (ms UTC) for a date axis."""
    return [int(v) for v in np.asarray(values, np.int64).tolist()]


def thin(length: int, most: int) -> NDArray[np.int64]:
    """Evenly spaced rows, at most ``most`` of them, the last always among them.

    >>> thin(10, 4)
    array([0, 3, 6, 9])
    >>> len(thin(3, 100)), len(thin(0, 5))
    (3, 0)
    """
    if length <= most:
        return np.arange(length, dtype=np.int64)
    return np.round(np.linspace(0, length - 1, most)).astype(np.int64)


def line(x: list[Any], y: list[Any], name: str, colour: str, width: float = 1.5, **more: Any) -> Spec:
    """A line; ``name`` is escaped here."""
    trace: Spec = {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": label(name), "line": {"color": colour, "width": width}}
    dash = more.pop("dash", None)
    if dash:
        trace["line"]["dash"] = dash
    return trace | more


def layout(height: int, **more: Any) -> Spec:
    """A layout of a given height; the page adds fonts, colours and margins."""
    return {"height": height} | more


def columns_of_axes(parts: int, gap: float = 0.06) -> list[tuple[float, float]]:
    """Domains of ``parts`` panels side by side.

    >>> columns_of_axes(2, 0.1)
    [(0.0, 0.45), (0.55, 1.0)]
    """
    width = (1 - gap * (parts - 1)) / parts
    return [(round(i * (width + gap), 4), round(i * (width + gap) + width, 4)) for i in range(parts)]


def panel_title(text: str, domain: tuple[float, float]) -> Spec:
    """A small bold head over one of several panels."""
    middle = round((domain[0] + domain[1]) / 2, 4)
    return {"text": f"<b>{label(text)}</b>", "x": middle, "y": 1, "xref": "paper", "yref": "paper", "yanchor": "bottom", "showarrow": False}


def log_axis(low: float, high: float) -> Spec:
    """A logarithmic axis from ``low`` to ``high`` with full labels at 1, 2 and 5 (plotly shortens them to a puzzling ``2 5 1``).

    >>> log_axis(0.3, 6.0)["ticktext"]
    ['0.5', '1', '2', '5']
    """
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 3000 else (1,)
    ticks = [float(f"{m * 10.0**d:.3g}") for d in decades for m in steps]
    ticks = [t for t in ticks if low <= t <= high]
    ends = [round(math.log10(low), 4), round(math.log10(high), 4)]
    return {"type": "log", "range": ends, "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}

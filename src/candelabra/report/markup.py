"""HTML building blocks. Everything that is not markup passes through :func:`escape`; figures and tables escape for themselves."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.report import digits

__all__ = ["Cell", "Section", "caption", "choices", "escape", "figure", "longest", "note", "number", "pair", "table", "words"]


@dataclass(frozen=True)
class Section:
    """One section of the page: ``key`` is its anchor, ``nav`` its name in the navigation, ``body`` finished HTML."""

    key: str
    title: str
    nav: str
    body: str


@dataclass(frozen=True)
class Cell:
    """A table cell: plain text (escaped when drawn), a value to sort by, and a class from the style sheet."""

    text: str
    kind: Literal["text", "number", "code"] = "text"
    sort: float | None = None
    css: str = ""
    title: str = ""


def escape(text: object) -> str:
    """Text made safe between tags and inside quoted attributes."""
    return html.escape(str(text), quote=True)


def words(text: object, css: str = "") -> Cell:
    """A cell of text."""
    return Cell(str(text), "text", css=css)


def number(text: str, value: float | None = None, css: str = "", title: str = "") -> Cell:
    """A right-aligned cell of digits that sorts by ``value``."""
    return Cell(text, "number", value if value is not None and math.isfinite(value) else None, css, title)


def _prose(text: str) -> str:
    return escape(text).replace(" %", "\u00a0%").replace(" = ", "\u00a0=\u00a0")


def caption(text: str) -> str:
    """The one sentence that says what to see (plain text)."""
    return f'<p class="caption">{_prose(text)}</p>'


def note(text: str, css: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{escape(css)}">{_prose(text)}</p>' if css else f"<p>{_prose(text)}</p>"


def figure(key: str, spec: dict[str, Any], title: str, says: str) -> str:
    """A figure with a title, its data as inert JSON, and a caption. The page's script draws it."""
    data = json.dumps(spec, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for raw, safe in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        data = data.replace(raw, safe)
    height = int(spec["layout"]["height"])
    return (
        f'<figure><h3>{escape(title)}</h3><div class="plot" id="{escape(key)}" style="height:{height}px" role="img" '
        f'aria-label="{escape(title)}"></div><script type="application/json" data-for="{escape(key)}">{data}</script>'
        f"<figcaption>{_prose(says)}</figcaption></figure>"
    )


def pair(*figures: str) -> str:
    """Figures side by side where the screen is wide enough."""
    return f'<div class="pair">{"".join(figures)}</div>'


class _OfSymbol(Protocol):
    @property
    def symbol(self) -> str: ...
    @property
    def horizon(self) -> str: ...


def longest(views: Sequence[_OfSymbol]) -> int:
    """The place of the first symbol's longest horizon: the one that the headline speaks of."""

    def length(horizon: str) -> int:
        try:
            return Timeframe(horizon).milliseconds
        except UsageError:
            return 0

    return max((i for i, v in enumerate(views) if v.symbol == views[0].symbol), key=lambda i: length(views[i].horizon), default=0)


def choices(key: str, options: Sequence[tuple[str, str]], label: str, first: int = 0) -> str:
    """One of several finished pieces at a time, chosen by buttons, the ``first`` shown at first; a single one is shown bare."""
    if len(options) == 1:
        return options[0][1]
    buttons = "".join(
        f'<button type="button" aria-pressed="{"true" if i == first else "false"}" data-shows="{escape(key)}-{i}">{escape(name)}</button>'
        for i, (name, _) in enumerate(options)
    )
    panes = "".join(
        f'<div class="pane" id="{escape(key)}-{i}"{"" if i == first else " hidden"}>{body}</div>' for i, (_, body) in enumerate(options)
    )
    return f'<div class="choices"><div class="buttons" role="group" aria-label="{escape(label)}">{buttons}</div>{panes}</div>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    css: str = "",
    sortable: bool = False,
    row_css: Sequence[str] = (),
    explanations: Sequence[str] = (),
) -> str:
    """A table; columns align after the first row's cells, ``explanations`` become tooltips of the heads."""
    drawn = [list(row) for row in rows]
    kinds = [cell.kind for cell in drawn[0]] if drawn else ["text"] * len(head)
    heads = []
    for i, name in enumerate(head):
        tip = f' title="{escape(explanations[i])}"' if i < len(explanations) and explanations[i] else ""
        inner = f'<button type="button">{escape(name)}</button>' if sortable else escape(name)
        heads.append(f'<th scope="col" class="{kinds[i]}"{tip}>{inner}</th>')
    body = []
    for i, row in enumerate(drawn):
        mark = f' class="{escape(row_css[i])}"' if i < len(row_css) and row_css[i] else ""
        body.append(f"<tr{mark}>{''.join(_cell(cell) for cell in row)}</tr>")
    sort = " sortable" if sortable else ""
    return (
        f'<div class="scroll"><table class="{escape(css)}{sort}"><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    css = f"{cell.kind} {cell.css}".strip()
    sort = "" if cell.sort is None else f' data-sort="{cell.sort:.12g}"'
    tip = f' title="{escape(cell.title)}"' if cell.title else ""
    text = escape(cell.text) if cell.text else digits.DASH
    return f'<td class="{escape(css)}"{sort}{tip}>{f"<code>{text}</code>" if cell.kind == "code" else text}</td>'

"""Where output goes: results to stdout (tables, or one JSON document), all else to stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["emit_json", "err", "facts", "out", "plain", "table"]


def out() -> Console:
    """The console for results; colours only on a terminal and without NO_COLOR."""
    return _console(stderr=False)


def err() -> Console:
    """The console for progress and notes."""
    return _console(stderr=True)


def emit_json(command: str, document: Mapping[str, Any]) -> None:
    """Print one JSON document; figures that are not finite are null."""
    print(json.dumps({"command": command, **plain(document)}, ensure_ascii=False, allow_nan=False, indent=2))


def plain(value: Any) -> Any:
    """``value`` made of JSON's own types.

    >>> plain({"r2": float("nan"), "rows": (1, 2)})
    {'r2': None, 'rows': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", numbers: Sequence[str] = ()) -> Table:
    """A light table; ``numbers`` names the columns set flush right. Cells are text as it is, no markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return made


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values, one pair a line."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, Text(value))
    return made


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 140
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width, soft_wrap=False)

"""Tables of labels as they come: CSV, Parquet, JSON and JSON lines as columns by role, every row with its number in the file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from candelabra.errors import DataError, SourceError, UsageError
from candelabra.registry import did_you_mean

__all__ = ["FORMS", "Form", "LabelTable", "read_table"]

Form = Literal["segments", "bars", "change-points", "label-studio"]
FORMS: Final = get_args(Form)
"""What a file of labels may hold."""

NAMES: Final = {
    "symbol": ("symbol", "pair", "market", "ticker"),
    "timeframe": ("timeframe", "interval", "time_frame", "tf", "scale"),
    "start": ("start", "start_time", "begin", "from", "segment_start"),
    "end": ("end", "end_time", "stop", "to", "segment_end"),
    "label": ("label", "regime", "state", "class", "target"),
    "time": ("open_time", "timestamp", "time", "date", "datetime", "open_time_ms", "change_point", "changepoint", "ts"),
    "confidence": ("confidence", "weight", "probability"),
    "known_at": ("known_at", "known"),
    "annotator": ("annotator", "annotated_by", "labeller", "labeler"),
    "note": ("note", "notes", "comment"),
}
"""The names a column may have, by role; the first is the one we write."""

_SEPARATORS: Final = ",;\t|"


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Cells by role as they were read (text, numbers, dates, None), each column as long as ``row``: the number of each in the file.

    ``unit``: what ``row`` counts: lines of a CSV file, rows, or labels of Label Studio. ``notes``: what was left out, and why.
    """

    where: str
    form: Form
    columns: dict[str, list[Any]]
    row: list[int]
    unit: str = "row"
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.row)


def read_table(path: str | Path, form: str | None = None) -> LabelTable:
    """The table of one file; its form is recognised by its columns, or told.

    Raises SourceError when the file cannot be opened, DataError when it holds no labels, UsageError for a form there is none of.
    """
    if form is not None and form not in FORMS:
        raise UsageError(f"{form!r} is no form of labels: {did_you_mean(form, FORMS)}")
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror or error}: name a file of labels that is there") from error
    if not data.strip():
        raise DataError(f"{file} is empty: write a segments table (symbol, timeframe, start, end, label)")
    if data[:4] == b"PAR1":
        return _recognised(str(file), form, *_parquet(data, str(file)))
    text = _text(data, str(file))
    if text.lstrip()[:1] in ("[", "{"):
        document = _json(text, str(file))
        from candelabra.regimes.label_studio import is_label_studio, label_studio_table

        if form == "label-studio" or (form is None and is_label_studio(document)):
            return label_studio_table(document, str(file))
        return _recognised(str(file), form, *_records(document, str(file)))
    if form == "label-studio":
        raise DataError(f"{file} is no JSON: export the project from Label Studio as JSON or JSON-MIN")
    return _recognised(str(file), form, *_csv(text, str(file)))


def _recognised(where: str, form: str | None, cells: dict[str, list[Any]], row: list[int], unit: str) -> LabelTable:
    """Columns by role, and the form that their presence tells."""
    columns: dict[str, list[Any]] = {}
    unread = []
    for name, values in cells.items():
        word = name.strip().lower().replace(" ", "_").replace("-", "_")
        role = next((r for r, names in NAMES.items() if word in names), None)
        if role is None or role in columns:
            unread.append(name or "without a name")
        else:
            columns[role] = values
    if "start" in columns and "end" in columns:
        seen: Form = "segments"
    elif "time" in columns or ("start" in columns and "label" not in columns):
        columns.setdefault("time", columns.get("start", []))
        seen = "bars" if "label" in columns else "change-points"
    else:
        raise DataError(
            f"{where} has the columns {', '.join(cells)}: a segments table needs start, end and label (beside them symbol and timeframe, "
            "or told), labels bar by bar need open_time and label, change points need open_time"
        )
    if seen == "change-points" and form is None and {"open", "close"} <= {name.strip().lower() for name in cells}:
        raise DataError(
            f"{where} holds candles ({', '.join(list(cells)[:8])}) and no labels: give a segments table (symbol, timeframe, start, "
            "end, label), or a column label beside the candles"
        )
    if form is not None and form != seen:
        raise DataError(f"{where} was said to hold {form}, but its columns ({', '.join(cells)}) are those of {seen}: say --form {seen}")
    notes = [f"{where}: not read: column {', '.join(unread)}"] if unread else []
    return LabelTable(where, seen, columns, row, unit, notes)


def _csv(text: str, where: str) -> tuple[dict[str, list[Any]], list[int], str]:
    first = text.lstrip().partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    names: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for cells in reader:
            if not any(c.strip() for c in cells):
                continue
            if not names:
                names = [c.strip() for c in cells]
                continue
            if len(cells) != len(names):
                raise DataError(
                    f"{where}: line {reader.line_num} has {len(cells)} cells where the header names {len(names)}: put text that holds "
                    f"{separator!r} in quotes, and leave no cell out"
                )
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{where}: line {reader.line_num} is no row of a table ({error}): look for a quote that is not closed") from error
    if len(set(names)) != len(names):
        raise DataError(f"{where}: its header names a column twice ({', '.join(names)}): name each once")
    return {name: [cells[k] for cells in rows] for k, name in enumerate(names)}, lines, "line"


def _parquet(data: bytes, where: str) -> tuple[dict[str, list[Any]], list[int], str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} is not Parquet that can be read: {str(error).splitlines()[0][:200]}: is the file whole?") from error
    columns: dict[str, list[Any]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):  # as numbers and with their zone: the reader of times takes Arrow
            columns[name] = column.cast(pa.timestamp("ms", column.type.tz), safe=False).to_pylist()
        else:
            columns[name] = column.to_pylist()
    return columns, list(range(1, len(table) + 1)), "row"


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply to be a table: give a list of rows") from error
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: line {number} is not JSON ({str(error)[:120]}): write one object a line, or a list") from error
    return records


def _records(document: Any, where: str) -> tuple[dict[str, list[Any]], list[int], str]:
    rows = [document] if isinstance(document, dict) else document
    strange = next((k for k, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if strange is not None:
        raise DataError(f"{where}: row {strange} is {json.dumps(rows[strange - 1])[:60]}: write each row as an object with names")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}, list(range(1, len(rows) + 1)), "row"


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is neither Parquet nor text in UTF-8: save it as CSV in UTF-8, JSON lines or Parquet") from error

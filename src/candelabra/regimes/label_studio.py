"""Exports of Label Studio (JSON and JSON-MIN) of time series: one row a drawn region, annotators apart."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final

from candelabra.errors import DataError
from candelabra.regimes.label_files import LabelTable
from candelabra.sources.members import named_by

__all__ = ["is_label_studio", "label_studio_table"]

_KIND: Final = "timeserieslabels"


def is_label_studio(document: Any) -> bool:
    """Whether a JSON document is a list of Label Studio's tasks (or one of them)."""
    tasks = document if isinstance(document, list) else [document]
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        return False
    return any("annotations" in task or "completions" in task or _short(task) for task in tasks)


def label_studio_table(document: Any, where: str) -> LabelTable:
    """The regions of every annotation, numbered as they stand in the file.

    A region spans the bars whose stamps lie in it, its end included, as it was drawn around points. An instant (start = end) is a change
    point. Symbol and timeframe come from the task's data (``symbol``, ``timeframe``), or from the name of its file
    (``BTCUSDT_1h.csv``). Cancelled annotations, predictions and regions of other kinds are left out, with a note each.
    Raises DataError for a region that cannot be one bar's label.
    """
    tasks = document if isinstance(document, list) else [document]
    columns: dict[str, list[Any]] = {name: [] for name in ("symbol", "timeframe", "start", "end", "label", "annotator", "confidence")}
    left_out = {"cancelled annotations": 0, "regions that are no time series labels": 0, "predictions": 0}
    for number, task in enumerate(tasks, 1):
        if not isinstance(task, dict):
            raise DataError(f"{where}: task {number} is no object: export the project as JSON or JSON-MIN")
        place = f"{where}: task {task.get('id', number)}"
        symbol, frame = _market(task)
        predictions = task.get("predictions")
        left_out["predictions"] += len(predictions) if isinstance(predictions, list) else 0
        for annotator, regions in _annotations(task, left_out, place):
            for region in regions:
                value = region.get("value", region) if isinstance(region, dict) else None
                labels = value.get(_KIND) if isinstance(value, dict) else None
                if not isinstance(value, dict) or not isinstance(labels, list):
                    left_out["regions that are no time series labels"] += 1
                    continue
                if len(labels) != 1:
                    said = ", ".join(map(str, labels)) or "none"
                    raise DataError(
                        f"{place}: the region from {value.get('start')} has {len(labels)} labels ({said}), and a bar has one: "
                        'set choice="single" in the labelling interface, or export one set of labels at a time'
                    )
                start, end = value.get("start"), value.get("end")
                instant = bool(value.get("instant")) or start == end
                found = (symbol, frame, start, None if instant else end, None if instant else labels[0], annotator, region.get("score"))
                for name, cell in zip(columns, found, strict=True):
                    columns[name].append(cell)
    notes = [f"{where}: left out: {count} {what}" for what, count in left_out.items() if count]
    columns = {
        name: cells for name, cells in columns.items() if any(cell is not None for cell in cells) or name in ("start", "end", "label")
    }
    return LabelTable(where, "label-studio", columns, list(range(1, len(columns["start"]) + 1)), "region", notes)


def _annotations(task: dict[str, Any], left_out: dict[str, int], place: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Annotator and regions of each annotation of a task."""
    given = task.get("annotations", task.get("completions"))
    if given is None:
        regions = [region for value in task.values() if isinstance(value, list) for region in value if _is_region(region)]
        return [(_who(task.get("annotator")), regions)]
    found = []
    for annotation in given if isinstance(given, list) else [given]:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result") or [], list):
            raise DataError(f"{place}: an annotation is no object with a list `result`: export the project as JSON or JSON-MIN")
        if annotation.get("was_cancelled"):
            left_out["cancelled annotations"] += 1
        else:
            found.append((_who(annotation.get("completed_by")), list(annotation.get("result") or [])))
    return found


def _who(given: Any) -> str:
    if isinstance(given, dict):
        given = given.get("email") or given.get("username") or given.get("id")
    return "" if given is None else str(given)


def _market(task: dict[str, Any]) -> tuple[str | None, str | None]:
    """Symbol and timeframe, where the data of a task or the name of its file says them."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    assert isinstance(data, dict)
    symbol, frame = (str(v) if isinstance(v := data.get(name), str | int) else None for name in ("symbol", "timeframe"))
    names = [v for v in (task.get("file_upload"), *data.values()) if isinstance(v, str) and "." in PurePosixPath(v).name]
    for name in names:
        _, its_symbol, its_frame = named_by(PurePosixPath(name.partition("?")[0]).name)
        symbol = symbol or its_symbol
        frame = frame or (None if its_frame is None else its_frame.name)
    return symbol, frame


def _is_region(value: Any) -> bool:
    return isinstance(value, dict) and _KIND in value and "start" in value


def _short(task: dict[str, Any]) -> bool:
    """Whether a task is one of JSON-MIN: regions under the name of the control."""
    return any(_is_region(region) for value in task.values() if isinstance(value, list) for region in value)

"""Rows out of JSON, piece by piece: a list of lists or of objects, an object of columns, or a document a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from candelabra.errors import DataError
from candelabra.sources.members import Member, stream

__all__ = ["json_rows"]

_PIECE: Final = 1 << 20
_LARGEST: Final = 256 << 20
_BETWEEN: Final = re.compile(rb"[\]}]\s*,\s*(?=[\[{])")


def json_rows(member: Member, first_bytes: int = _PIECE) -> Iterator[list[Any]]:
    """Lists of rows (each a list or a dict); memory is a piece of the file, whatever its size, where rows stand in a list.

    Raises DataError for what is no JSON of rows.
    """
    with stream(member) as raw:
        start = raw.read(first_bytes)
        head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
        if head[:1] == b"[" and head[1:].lstrip()[:1] in (b"[", b"{"):
            yield from _listed(head[1:], raw, member.name)
        elif head[:1] == b"[":
            whole = _parsed(_rest(head, raw, member.name), member.name)
            if whole:
                raise DataError(f"{member.name} holds a list of {type(whole[0]).__name__}s: rows must be lists or objects")
        elif head[:1] == b"{" and _is_lines(head):
            yield from _lines(head, raw, member.name)
        elif head[:1] == b"{":
            yield from _columns(_parsed(_rest(head, raw, member.name), member.name), member.name)
        else:
            raise DataError(f"{member.name} is not JSON: it begins with {head[:20].decode(errors='replace')!r}")


def _is_lines(head: bytes) -> bool:
    first, newline, _ = head.partition(b"\n")
    try:
        return isinstance(json.loads(first), dict) and (
            bool(newline) or not any(isinstance(v, list | dict) for v in json.loads(first).values())
        )
    except (ValueError, RecursionError):
        return False


def _listed(buffer: bytes, raw: Any, name: str) -> Iterator[list[Any]]:
    """The rows of one long list: pieces are cut between two rows."""
    while True:
        more = raw.read(_PIECE)
        if not more:
            break
        buffer += more
        cut = max(_BETWEEN.finditer(buffer), key=lambda between: between.start(), default=None)
        if cut is not None:
            yield _rows(b"[" + buffer[: cut.start() + 1] + b"]", name)
            buffer = buffer[cut.end() :]
        elif len(buffer) > _LARGEST:
            raise DataError(f"{name}: one row is longer than {_LARGEST >> 20} MB, so this is no table")
    yield _rows(b"[" + buffer, name)


def _lines(buffer: bytes, raw: Any, name: str) -> Iterator[list[Any]]:
    while True:
        more = raw.read(_PIECE)
        buffer += more
        ready, newline, rest = buffer.rpartition(b"\n") if more else (buffer, b"", b"")
        if newline or not more:
            rows = [_parsed(line, name) if line.strip() else None for line in ready.split(b"\n")]
            yield [_row(row, name) for row in rows]
            buffer = rest
        elif len(buffer) > _LARGEST:
            raise DataError(f"{name}: one line is longer than {_LARGEST >> 20} MB, so this is no table")
        if not more:
            return


def _columns(document: Any, name: str) -> Iterator[list[Any]]:
    """An object of columns, as pandas writes it; or the rows under the one key that holds a list of rows."""
    lists = {k: v for k, v in document.items() if isinstance(v, list)}
    nested = [v for v in lists.values() if v and isinstance(v[0], list | dict)]
    if len(nested) == 1:
        yield [_row(row, name) for row in nested[0]]
        return
    indexed = {k: v for k, v in document.items() if isinstance(v, dict)}
    if indexed and len(indexed) == len(document):
        labels = list(next(iter(indexed.values())))
        yield [{"": label} | {k: v.get(label) for k, v in indexed.items()} for label in labels]
        return
    if lists and len({len(v) for v in lists.values()}) == 1:
        yield [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
        return
    if lists:
        raise DataError(f"{name}: its lists differ in length ({', '.join(f'{k} {len(v)}' for k, v in list(lists.items())[:8])})")
    raise DataError(f"{name} holds one object without a list of rows: give a list of candles, an object of columns or one object a line")


def _rows(text: bytes, name: str) -> list[Any]:
    rows = _parsed(text, name)
    return [_row(row, name) for row in rows]


def _row(row: Any, name: str) -> Any:
    if row is not None and not isinstance(row, list | dict):
        raise DataError(f"{name}: a row is {json.dumps(row)[:60]}: rows must be lists or objects")
    return row


def _parsed(text: bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON that can be read: {str(error)[:200]}: is the file whole?") from error


def _rest(head: bytes, raw: Any, name: str) -> bytes:
    data = head + bytes(raw.read(_LARGEST - len(head) + 1))
    if len(data) > _LARGEST:
        raise DataError(f"{name}: an object of columns of more than {_LARGEST >> 20} MB: write rows in a list, or one object a line")
    return data

"""`Journal`: what the live loop did, in a folder; append-only, each closed bar once, whole or not at all after `kill -9`.

SQLite with a write-ahead log, synced at every commit. What one base bar brought is one transaction: its candles, its prediction, what was
judged and traded with it, and the position to go on from. One process writes; any may read.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from candelabra.bundles.predictor import Prediction
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import timeframe
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.live.follow import Follower, Step
from candelabra.live.schema import FORM, SCHEMA
from candelabra.models.segmenter_stream import RegimeBar
from candelabra.sources.lock import writing

__all__ = ["FILE", "Journal", "Start", "body_of", "reading_journal", "writing_journal"]

FILE: Final = "journal.sqlite"


@dataclass(frozen=True)
class Start:
    """Where a follower began: ``number``, the bundle's id, its history's span ``from_ms`` .. ``as_of_ms``, and `Follower.keep`."""

    number: int
    symbol: str
    bundle: str
    timeframe: str
    from_ms: int
    as_of_ms: int
    made_ms: int
    keep: dict[str, int]
    simulated: bool


def body_of(prediction: Prediction | None) -> str | None:
    """A prediction as the journal keeps it: JSON in which every number keeps its bits."""
    return None if prediction is None else json.dumps(prediction.to_dict(), sort_keys=True)


class Journal:
    """An opened journal; `writing_journal` and `reading_journal` open one. For one thread."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder, self._db = folder, connection
        self._start: dict[str, int] = {}

    # what is read

    def fact(self, name: str) -> str | None:
        """A fact about the whole journal."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def position(self, symbol: str) -> int | None:
        """Up to which base close a symbol was followed; None where it was not yet."""
        row = self._db.execute("SELECT body FROM standing WHERE symbol = ? AND part = 'position'", (symbol,)).fetchone()
        return None if row is None else int(row[0])

    def standing(self, symbol: str, part: str) -> Any:
        """What a part of the loop left to go on from, as JSON values; None where nothing."""
        row = self._db.execute("SELECT body FROM standing WHERE symbol = ? AND part = ?", (symbol, part)).fetchone()
        return None if row is None else json.loads(row[0])

    def bundle(self) -> tuple[str, Path] | None:
        """Id and path of the bundle that was used last."""
        row = self._db.execute("SELECT id, path FROM bundles ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else (str(row[0]), Path(row[1]))

    def paths(self) -> dict[str, Path]:
        """Where each bundle that was used lay, by id."""
        return {str(i): Path(p) for i, p in self._db.execute("SELECT id, path FROM bundles ORDER BY number")}

    def starts(self, symbol: str | None = None) -> list[Start]:
        """Every beginning of a follower, in order."""
        names = "number, symbol, bundle, timeframe, from_ms, as_of_ms, made_ms, keep, simulated"
        rows = self._db.execute(f"SELECT {names} FROM starts WHERE ? IS NULL OR symbol = ? ORDER BY number", (symbol, symbol))
        return [Start(a, b, c, d, e, f, g, json.loads(keep), bool(simulated)) for a, b, c, d, e, f, g, keep, simulated in rows]

    def candles(self, start: Start, from_ms: int, to_ms: int) -> Candles:
        """What the follower of a start was given of a stretch, whose span it is: the newest values that were known to it."""
        rows = self._db.execute(
            "SELECT open_ms, open, high, low, close, volume, max(start) FROM candles WHERE symbol = ? AND open_ms >= ? AND open_ms < ? "
            "AND start <= ? GROUP BY open_ms ORDER BY open_ms",
            (start.symbol, from_ms, to_ms, start.number),
        ).fetchall()
        table = np.array([row[1:6] for row in rows], np.float64).reshape(len(rows), 5)
        values = [np.ascontiguousarray(column) for column in table.T]
        times, frame = np.array([row[0] for row in rows], np.int64), timeframe(start.timeframe)
        missing = np.zeros(len(rows), np.int32)
        return Candles.sealed(start.symbol, frame, times, values, missing, frame, (from_ms, to_ms), start.simulated)

    def predictions(self, symbol: str, after_ms: int | None = None, to_ms: int | None = None) -> list[tuple[int, int, str | None]]:
        """``(as_of_ms, start, body)`` of every closed bar with ``after_ms < as_of_ms <= to_ms``, in order."""
        low, high = -(1 << 62) if after_ms is None else after_ms, 1 << 62 if to_ms is None else to_ms
        rows = self._db.execute(
            "SELECT as_of_ms, start, body FROM predictions WHERE symbol = ? AND as_of_ms > ? AND as_of_ms <= ? ORDER BY as_of_ms",
            (symbol, low, high),
        )
        return [(int(a), int(b), c) for a, b, c in rows]

    def count(self, symbol: str) -> int:
        """How many closed bars of a symbol it has."""
        return int(self._db.execute("SELECT count(*) FROM predictions WHERE symbol = ?", (symbol,)).fetchone()[0])

    def rows(self, table: str, symbol: str | None = None) -> list[dict[str, Any]]:
        """All rows of a table as they were written."""
        if table not in _TABLES:
            raise UsageError(f"a journal has no table {table!r}: it has {', '.join(_TABLES)}")
        where = " WHERE symbol = ?" if symbol is not None else ""
        cursor = self._db.execute(f"SELECT * FROM {table}{where}", () if symbol is None else (symbol,))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def newest_judged(self, symbol: str, horizon: str, count: int, bundle: str) -> list[dict[str, Any]]:
        """The bodies of the newest judged forecasts of a bundle that had an outcome, oldest first."""
        rows = self._db.execute(
            "SELECT body FROM judged WHERE symbol = ? AND horizon = ? AND json_extract(body, '$.bundle') = ? "
            "AND json_extract(body, '$.return') IS NOT NULL ORDER BY as_of_ms DESC LIMIT ?",
            (symbol, horizon, bundle, count),
        ).fetchall()
        return [json.loads(row[0]) for row in reversed(rows)]

    def unjudged(self, symbol: str, horizon: str, after_ms: int, bundle: str) -> list[tuple[int, str]]:
        """``(as_of_ms, body)`` of a bundle's forecasts made after a time that were not judged at a horizon yet."""
        rows = self._db.execute(
            "SELECT p.as_of_ms, p.body FROM predictions p LEFT JOIN judged j ON j.symbol = p.symbol AND j.as_of_ms = p.as_of_ms AND "
            "j.horizon = ? WHERE p.symbol = ? AND p.as_of_ms > ? AND p.bundle = ? AND p.body IS NOT NULL AND j.symbol IS NULL "
            "ORDER BY p.as_of_ms",
            (horizon, symbol, after_ms, bundle),
        )
        return [(int(a), str(b)) for a, b in rows]

    def export(self, path: Path, tables: Sequence[str] = ()) -> int:
        """Write tables (all but the candles by default) as JSON lines, ``table`` first in each; how many lines."""
        from candelabra.disk import write_atomically

        lines = []
        for table in tables or [name for name in _TABLES if name != "candles"]:
            for row in self.rows(table):
                told = {k: json.loads(v) if k in ("body", "keep") and v is not None else v for k, v in row.items()}
                lines.append(json.dumps({"table": table, **told}, ensure_ascii=False))
        write_atomically(path, ("\n".join(lines) + ("\n" if lines else "")).encode())
        return len(lines)

    # what is written

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is on the disk when this ends, or nothing of it is; SourceError when the disk refuses."""
        if self._db.in_transaction:  # a part of a larger one
            yield
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise SourceError(
                    f"the journal {self.folder / FILE} cannot be written ({error}): free space, nothing was changed"
                ) from error
            raise

    def use_bundle(self, id_: str, path: Path, at_ms: int, why: str) -> None:
        """From now on predictions are made by this bundle."""
        with self.transaction():
            self._db.execute("INSERT INTO bundles (id, path, since_ms, why) VALUES (?, ?, ?, ?)", (id_, str(path.resolve()), at_ms, why))

    def begin(self, follower: Follower, history: Candles, made_ms: int) -> int:
        """Note where a follower begins and what it was given; the number of the start."""
        facts = (history.symbol, follower.predictor.manifest.id, history.timeframe.name, history.span[0], history.span[1], made_ms)
        with self.transaction():
            cursor = self._db.execute(
                "INSERT INTO starts (symbol, bundle, timeframe, from_ms, as_of_ms, made_ms, keep, simulated) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*facts, json.dumps(follower.keep), history.simulated),
            )
            number = int(cursor.lastrowid or 0)
            earlier = Start(number, history.symbol, facts[1], facts[2], *history.span, made_ms, {}, history.simulated)
            self._insert_candles(_unlike(self.candles(earlier, *history.span), history), number)
            if self.position(history.symbol) is None:
                self.stand(history.symbol, "position", history.span[1])
        self._start[history.symbol] = number
        return number

    def record(self, step: Step, made_ms: int) -> None:
        """What one base bar brought, and the position after it; DataError unless it comes next: no bar is said twice or left out."""
        start = self._start.get(step.symbol)
        before = self.position(step.symbol)
        if start is None or before is None or step.as_of_ms <= before or (step.candles.span[0] != before):
            raise DataError(f"{step.symbol}: the bar up to {step.as_of_ms} does not follow what the journal has, up to {before}")
        with self.transaction():
            self._insert_candles(step.candles, start)
            if len(step.candles):
                bundle = step.prediction.bundle if step.prediction is not None else ""
                row = (step.symbol, step.as_of_ms, start, bundle, made_ms, body_of(step.prediction))
                self._db.execute("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?)", row)
            # a coarse bar that ended in a gap is told by the candle after it, and may have been by an earlier follower
            self._db.executemany(
                "INSERT OR IGNORE INTO regimes VALUES (?, ?, ?, ?, ?, ?)", [_regime_row(step.symbol, b) for b in step.regimes]
            )
            self.stand(step.symbol, "position", step.as_of_ms)

    def skip(self, symbol: str, to_ms: int) -> None:
        """Go on from ``to_ms``: what lies before it cannot be had."""
        with self.transaction():
            self.stand(symbol, "position", to_ms)

    def stand(self, symbol: str, part: str, body: Any) -> None:
        """What a part of the loop goes on from after a restart."""
        self._db.execute("INSERT OR REPLACE INTO standing VALUES (?, ?, ?)", (symbol, part, json.dumps(body)))

    def add_judged(self, symbol: str, as_of_ms: int, horizon: str, known_ms: int, body: Mapping[str, Any]) -> None:
        """A forecast met its future."""
        text = json.dumps(body, allow_nan=False)  # SQLite reads no NaN in JSON
        self._db.execute("INSERT INTO judged VALUES (?, ?, ?, ?, ?)", (symbol, as_of_ms, horizon, known_ms, text))

    def add_paper(self, symbol: str, as_of_ms: int, target: float, units: float, cash: float, equity: float) -> None:
        """Where the paper account stands at a close, and what it wants."""
        self._db.execute("INSERT INTO paper VALUES (?, ?, ?, ?, ?, ?)", (symbol, as_of_ms, target, units, cash, equity))

    def add_trade(self, symbol: str, opened_ms: int, closed_ms: int, body: Mapping[str, Any]) -> None:
        """A paper trade has ended."""
        self._db.execute("INSERT INTO trades VALUES (?, ?, ?, ?)", (symbol, opened_ms, closed_ms, json.dumps(body)))

    def add_event(self, at_ms: int, kind: str, subject: str, body: Mapping[str, Any]) -> None:
        """Something happened."""
        with self.transaction():
            text = json.dumps(body, ensure_ascii=False)
            self._db.execute("INSERT INTO events (at_ms, kind, subject, body) VALUES (?, ?, ?, ?)", (at_ms, kind, subject, text))

    def set_fact(self, name: str, value: str) -> None:
        """A fact about the whole journal."""
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _insert_candles(self, candles: Candles, start: int) -> None:
        columns = [c.tolist() for c in (candles.open_time, *candles.values())]
        rows = [(candles.symbol, t, start, *values) for t, *values in zip(*columns, strict=True)]
        self._db.executemany("INSERT INTO candles VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


_TABLES: Final = ("facts", "bundles", "starts", "candles", "predictions", "regimes", "judged", "paper", "trades", "standing", "events")


@contextlib.contextmanager
def writing_journal(folder: Path) -> Iterator[Journal]:
    """The journal in a folder, made when it is not there, with nobody else writing; SourceError that names who does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"cannot make the folder {folder} for a journal ({error.strerror or error}): choose another") from error
    with writing(folder, f"the live journal {folder}"):
        connection = _opened(folder / FILE)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(SCHEMA)
            journal = Journal(folder, connection)
            form = journal.fact("form")
            if form is None:
                journal.set_fact("form", str(FORM))
            elif form != str(FORM):
                raise DataError(f"the journal {folder / FILE} has form {form}, this version writes {FORM}: give another folder")
            yield journal
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{folder / FILE} cannot be used as a journal ({error}): keep it for inspection, and give another folder"
            ) from error
        finally:
            connection.close()


@contextlib.contextmanager
def reading_journal(folder: Path) -> Iterator[Journal]:
    """The journal in a folder, to read, also while another process writes it; UsageError where there is none."""
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{folder} has no live journal ({FILE}): give the folder that `candelabra live` named")
    connection = _opened(path)
    try:
        connection.execute("PRAGMA query_only = ON")
        yield Journal(folder, connection)
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} cannot be read as a journal ({error})") from error
    finally:
        connection.close()


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5.0, isolation_level=None)


def _unlike(known: Candles, history: Candles) -> Candles:
    """The candles of a history that are not known with these values."""
    place = np.minimum(np.searchsorted(known.open_time, history.open_time), max(len(known) - 1, 0))
    if not len(known):
        return history
    same = known.open_time[place] == history.open_time
    for ours, theirs in zip(history.values(), known.values(), strict=True):
        same &= ours == theirs[place]
    return history.rows(~same)


def _regime_row(symbol: str, bar: RegimeBar) -> tuple[Any, ...]:
    p = bar.probabilities.tolist()
    body = json.dumps({"probabilities": dict(zip(bar.labels, (x if x == x else None for x in p), strict=True)), "confirmed": bar.confirmed})
    return symbol, bar.timeframe, bar.close_ms, bar.label, bar.age, body

"""The tail of a stored series: the newest bars, the ledger and the revisions in SQLite, each row and each table with a check.

SQLite keeps no checksums of its own: a flipped bit would be read as a price. So every row carries a check, and one sealed row of state
holds the number and the sum of the checks of each table, so that a row that vanishes is noticed as surely as one that changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import numpy as np

from candelabra.errors import DataError, SourceError
from candelabra.sources.bars import Bars, over
from candelabra.sources.provenance import Fetched, Hole, Ledger

__all__ = [
    "TAIL",
    "Revision",
    "Salvage",
    "Tail",
    "Writing",
    "create_tail",
    "foreign",
    "is_blank",
    "read_revisions",
    "read_tail",
    "salvage",
    "sequence",
    "unsound_pages",
    "writing_tail",
]

TAIL: Final = "tail.sqlite"
_SCHEMA: Final = """
CREATE TABLE state (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE bars (open_time INTEGER PRIMARY KEY, candle BLOB NOT NULL);
CREATE TABLE ledger (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE revisions (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
"""
_HOLDING: Final = ("bars", "ledger", "revisions")
_WAIT_MS: Final = 2_000
"""How long to wait for a reader to let go: reads hold the database for milliseconds."""
_Result = TypeVar("_Result")
_WORD: Final = 1 << 64
_ROW_BYTES: Final = 48
"""Five values and the check of a bar."""


@dataclass(frozen=True)
class Revision:
    """A stored bar (open time, ms) that got other values: open, high, low, close, volume before and after, and who said so, when.

    ``old_source`` is who had given the values before ("" when no record tells).
    """

    open_time_ms: int
    old: tuple[float, float, float, float, float]
    new: tuple[float, float, float, float, float]
    source: str
    noted_ms: int
    old_source: str = ""


@dataclass(frozen=True, eq=False)
class Tail:
    """What the database held at one instant; ``sequence`` rises with each change."""

    id: str
    sequence: int
    bars: Bars
    ledger: Ledger
    revisions: int


def create_tail(folder: Path, simulated: bool) -> str:
    """A new, empty database in ``folder`` (there must be none); gives its id. SourceError when the disk refuses."""
    identity = secrets.token_hex(8)
    with _opened(folder, "mode=rwc") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.strip().split(";")[:-1]:
            connection.execute(statement)
        _put_state(connection, {"id": identity, "simulated": simulated, "sequence": 0, **{table: [0, 0] for table in _HOLDING}})
        connection.execute("COMMIT")
    return identity


def is_blank(folder: Path) -> bool:
    """Whether there is no database, or one whose maker was killed before it held anything."""
    if not (folder / TAIL).exists():
        return True

    def blank(connection: sqlite3.Connection) -> bool:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return not any(connection.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone() for name in tables if name in _HOLDING)

    try:
        return _read(folder, blank)
    except DataError:
        return False


def read_tail(folder: Path, identity: str | None = None) -> Tail:
    """The tail as it is now; never waits for a writer. DataError when it is missing, damaged or not the one of this id, if given."""
    return _read(folder, lambda connection: _loaded(connection, folder, identity)[0])


def sequence(folder: Path, identity: str) -> int:
    """The tail's number of changes: equal numbers, equal content."""
    return _read(folder, lambda connection: int(_state(connection, folder, identity)["sequence"]))


def read_revisions(folder: Path, identity: str) -> list[Revision]:
    """Every revision in the order they came; DataError when one is damaged or gone."""

    def rows(connection: sqlite3.Connection) -> tuple[list[int], list[str]]:
        wanted: list[int] = _state(connection, folder, identity)["revisions"]
        return wanted, [str(body) for (body,) in connection.execute("SELECT body FROM revisions ORDER BY number")]

    wanted, bodies = _read(folder, rows)
    if [len(bodies), _total(map(_check, bodies))] != wanted:
        raise _damaged(folder, "the revisions do not fit their checks")
    return [_revision(_unsealed(body, folder)) for body in bodies]


@dataclass(frozen=True, eq=False)
class Salvage:
    """What of a damaged database is sound row by row; ``bars_lost``: how many bars are known to be missing (None: nobody knows)."""

    id: str | None
    simulated: bool | None
    bars: Bars
    ledger: Ledger
    revisions: tuple[Revision, ...]
    bars_lost: int | None


def salvage(folder: Path) -> Salvage:
    """Every row that can be read and fits its check, however damaged the database is."""
    state: dict[str, Any] = {}
    states = _read_from_both_ends(folder, "id, body", "state")
    with contextlib.suppress(DataError, ValueError, KeyError, TypeError):
        state = _unsealed(str(states[0][1]), folder) if states else {}
    bars = _sound_bars(_read_from_both_ends(folder, "open_time, candle", "bars"))
    records: list[Any] = []
    revisions: list[Any] = []
    for table, found in (("ledger", records), ("revisions", revisions)):
        for _, body in sorted(_read_from_both_ends(folder, "number, body", table), key=lambda row: str(row[0]).zfill(20)):
            with contextlib.suppress(DataError, ValueError):
                found.append(_unsealed(str(body), folder))
    lost = state["bars"][0] - len(bars) if state else None
    ledger, log = _ledger(records), tuple(_revision(fields) for fields in revisions)
    return Salvage(state.get("id"), state.get("simulated"), bars, ledger, log, lost)


def _read_from_both_ends(folder: Path, columns: str, table: str) -> list[tuple[Any, Any]]:
    """Rows of a table that may break off somewhere, each once, by their key."""
    found: dict[Any, tuple[Any, Any]] = {}
    key = columns.split(",")[0]
    for direction in ("ASC", "DESC"):

        def collect(connection: sqlite3.Connection, order: str = f"{key} {direction}") -> None:
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            for row in connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):
                found[row[0]] = row

        with contextlib.suppress(DataError, SourceError):
            _read(folder, collect)
    return [found[k] for k in sorted(found, key=lambda k: (isinstance(k, int), k if isinstance(k, int) else 0))]


def unsound_pages(folder: Path) -> str:
    """What SQLite's own check finds wrong in the database's structure; empty when nothing."""
    lines = _read(folder, lambda connection: [str(line) for (line,) in connection.execute("PRAGMA integrity_check(3)")])
    return "" if lines == ["ok"] else "; ".join(line.splitlines()[-1] for line in lines)


class Writing:
    """A transaction on the tail: ``tail`` is what it held before; what is put takes effect as one when the block ends."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, identity: str) -> None:
        self._connection = connection
        self.tail, self._state, self._numbers = _loaded(connection, folder, identity)
        self._bars, self._ledger = self.tail.bars, list(self._numbers)
        self.touched = False

    def put(self, bars: Bars) -> None:
        """Insert bars, or replace those of the same open time."""
        self.touched = True
        rows = zip(bars.open_time.tolist(), _packed(bars), strict=True)
        self._connection.executemany("INSERT OR REPLACE INTO bars VALUES (?, ?)", rows)
        self._bars = over(bars, self._bars)

    def drop_bars(self) -> None:
        """Take all bars out: they rest in month files now."""
        self.touched = True
        self._connection.execute("DELETE FROM bars")
        self._bars = Bars.none()

    def put_ledger(self, ledger: Ledger) -> None:
        """Keep this ledger in place of the one before."""
        self.touched = True
        wanted = dict.fromkeys(_ledger_bodies(ledger))
        self._ledger = list(wanted)
        gone = [(number,) for body, number in self._numbers.items() if body not in wanted]
        self._connection.executemany("DELETE FROM ledger WHERE number = ?", gone)
        fresh = [(body,) for body in wanted if body not in self._numbers]
        self._connection.executemany("INSERT INTO ledger (body) VALUES (?)", fresh)

    def log(self, revisions: Iterable[Revision]) -> None:
        """Add revisions to those there are."""
        self.touched = True
        bodies = [_sealed(json.dumps(astuple(r))) for r in revisions]
        self._connection.executemany("INSERT INTO revisions (body) VALUES (?)", [(body,) for body in bodies])
        count, total = self._state["revisions"]
        self._state["revisions"] = [count + len(bodies), (total + _total(map(_check, bodies))) % _WORD]

    def finish(self) -> None:
        """Seal the new state."""
        self._state["bars"] = [len(self._bars), _total(self._bars.checks().tolist())]
        self._state["ledger"] = [len(self._ledger), _total(map(_check, self._ledger))]
        self._state["sequence"] += 1
        _put_state(self._connection, self._state)


@contextlib.contextmanager
def writing_tail(folder: Path, identity: str) -> Iterator[Writing]:
    """Change the tail in one durable step: when the block has ended, the change outlives a power cut; when it raises, nothing changed.

    The caller holds the series' writer lock. The log is folded into the database at once, since SQLite ends reading a log at the
    first frame that does not fit its checksum: a flipped bit there would take back what was acknowledged without a word.
    """
    with _opened(folder, "mode=rw") as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            change = Writing(connection, folder, identity)
            yield change
            if not change.touched:
                connection.execute("ROLLBACK")
                return
            change.finish()
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read(folder: Path, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
    """What ``work`` makes of the database at one instant.

    Even a reader needs a little space for what SQLite's readers and writers share. Where there is none (a full disk, one that
    cannot be written) and no log waits to be read, the database is read as it lies.
    """
    log = folder / f"{TAIL}-wal"
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        try:
            with _opened(folder, mode) as connection:
                connection.execute("BEGIN")
                return work(connection)
        except SourceError as error:
            if error.retryable or mode != "mode=ro" or (log.exists() and log.stat().st_size):
                raise
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _opened(folder: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """The database in ``folder``; what SQLite raises comes out as DataError or SourceError."""
    path = folder / TAIL
    connection: sqlite3.Connection | None = None
    try:
        if "rwc" not in mode and not path.is_file():
            raise _damaged(folder, "it is not there")
        connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{mode}", uri=True, isolation_level=None, timeout=_WAIT_MS / 1000)
        connection.execute("PRAGMA cell_size_check=ON")
        yield connection
    except sqlite3.Error as error:
        raise _refused(folder, error) from error
    finally:
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _refused(folder: Path, error: sqlite3.Error) -> DataError | SourceError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return SourceError(
            f"cannot use {folder / TAIL}: {error}; nothing was changed: check the disk, its free space and the file's rights"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return SourceError(f"{folder / TAIL} is held by another program: close what has it open and try again", retryable=True)
    return _damaged(folder, str(error))


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(
        f"the tail {folder / TAIL} is damaged ({why}): `candelabra store repair` keeps what of it is sound, and says what to fetch again"
    )


def foreign(folder: Path) -> DataError:
    """The error for a tail that is not the one its manifest names."""
    return _damaged(folder, "it belongs to another manifest")


def _loaded(connection: sqlite3.Connection, folder: Path, identity: str | None) -> tuple[Tail, dict[str, Any], dict[str, int]]:
    state = _state(connection, folder, identity)
    rows = connection.execute("SELECT open_time, candle FROM bars ORDER BY open_time").fetchall()
    bars = _sound_bars(rows)
    if len(bars) != len(rows) or [len(bars), _total(bars.checks().tolist())] != state["bars"]:
        raise _damaged(folder, "the bars do not fit their checks")
    numbers = {str(body): int(number) for number, body in connection.execute("SELECT number, body FROM ledger")}
    if [len(numbers), _total(map(_check, numbers))] != state["ledger"]:
        raise _damaged(folder, "the ledger does not fit its checks")
    ledger = _ledger(_unsealed(body, folder) for body in numbers)
    return Tail(state["id"], state["sequence"], bars, ledger, state["revisions"][0]), state, numbers


def _state(connection: sqlite3.Connection, folder: Path, identity: str | None) -> dict[str, Any]:
    rows = connection.execute("SELECT body FROM state").fetchall()
    if len(rows) != 1:
        raise _damaged(folder, "its state is gone")
    state: dict[str, Any] = _unsealed(str(rows[0][0]), folder)
    if identity not in (None, state["id"]):
        raise foreign(folder)
    return state


def _put_state(connection: sqlite3.Connection, state: dict[str, Any]) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (0, ?)", (_sealed(json.dumps(state)),))


def _sound_bars(rows: Sequence[tuple[Any, Any]]) -> Bars:
    """The rows that are bars and fit their checks, by open time."""
    sound = [(t, b) for t, b in rows if isinstance(t, int) and isinstance(b, bytes) and len(b) == _ROW_BYTES]
    if not sound:
        return Bars.none()
    table = np.frombuffer(b"".join(b for _, b in sound), "<u8").reshape(len(sound), -1).astype(np.uint64)
    values = np.ascontiguousarray(table[:, :5].T).view(np.float64)
    bars = Bars(np.array([t for t, _ in sound], np.int64), values)
    bars = bars.rows(bars.checks() == table[:, 5])
    return bars if (np.diff(bars.open_time) > 0).all() else bars.rows(np.unique(bars.open_time, return_index=True)[1])


def _packed(bars: Bars) -> list[bytes]:
    words = np.vstack([np.ascontiguousarray(bars.values).view(np.uint64), bars.checks()])
    data = np.ascontiguousarray(words.T, "<u8").tobytes()
    return [data[at : at + _ROW_BYTES] for at in range(0, len(data), _ROW_BYTES)]


def _ledger_bodies(ledger: Ledger) -> list[str]:
    told = [json.dumps(["fetched", *astuple(f)]) for f in ledger.fetched] + [json.dumps(["hole", *astuple(h)]) for h in ledger.holes]
    return [_sealed(text) for text in told]


def _ledger(records: Iterable[list[Any]]) -> Ledger:
    fetched: list[Fetched] = []
    holes: list[Hole] = []
    for kind, *fields in records:
        if kind == "fetched":
            fetched.append(Fetched(*fields))
        else:
            holes.append(Hole(*fields))
    return Ledger(tuple(sorted(fetched)), tuple(sorted(holes)))


def _revision(fields: list[Any]) -> Revision:
    time, old, new, *rest = fields
    return Revision(time, tuple(old), tuple(new), *rest)


def _sealed(text: str) -> str:
    """Text with its check in front."""
    return f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()} {text}"


def _check(body: str) -> int:
    try:
        return int(body[:16], 16)
    except ValueError:  # damaged; the sum will not fit
        return -1


def _unsealed(body: str, folder: Path) -> Any:
    if _sealed(body[17:]) != body:
        raise _damaged(folder, "a row does not fit its check")
    return json.loads(body[17:])


def _total(checks: Iterable[int]) -> int:
    return sum(checks) % _WORD

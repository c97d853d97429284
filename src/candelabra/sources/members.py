"""What there is to read: files, folders, globs and what archives hold, as members that open as streams of plain bytes."""

from __future__ import annotations

import contextlib
import glob
import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal, cast

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.registry import did_you_mean
from candelabra.sources.stored import is_stored
from candelabra.sources.symbols import split_symbol

__all__ = ["ENDINGS", "VENUES", "Kind", "Member", "Paths", "find_files", "members_of", "named_by", "stream", "trouble", "unguarded"]

Paths = str | Path | Sequence[str | Path]
Kind = Literal["csv", "json", "parquet", "feather"]

_KINDS: Final[dict[str, Kind]] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".parquet": "parquet", ".pq": "parquet", ".feather": "feather", ".arrow": "feather",
}  # fmt: skip
_TEXT: Final = tuple(ending for ending, kind in _KINDS.items() if kind in ("csv", "json"))
_PACKED: Final = tuple(f"{ending}.gz" for ending in _TEXT)
ENDINGS: Final = (*_KINDS, *_PACKED, ".zip")
"""Endings of the files that can be read."""

VENUES: Final = (
    "binance", "binanceus", "binanceusdm", "binancecoinm", "bitfinex", "bitflyer", "bitget", "bitmex", "bitstamp", "bybit",
    "coinbase", "cryptocom", "deribit", "gateio", "gemini", "htx", "huobi", "hyperliquid", "kraken", "kucoin", "mexc", "okx",
    "poloniex", "upbit",
)  # fmt: skip
"""Exchanges a file's name may begin with (CCXT's spelling)."""


@dataclass(frozen=True)
class Member:
    """One table to read: a file, or ``inner``, a file inside a zip archive. ``name`` is how messages call it."""

    path: Path
    kind: Kind
    name: str
    inner: str = ""
    packed: bool = False

    @property
    def size(self) -> int:
        """Bytes on the disk, as progress counts them."""
        if self.inner:
            with trouble(self.name), zipfile.ZipFile(self.path) as archive:
                return archive.getinfo(self.inner).compress_size
        with trouble(self.name):
            return self.path.stat().st_size


def find_files(paths: Paths) -> tuple[list[Path], bool]:
    """The files meant, and whether they were gathered (then symbol and timeframe select among them)."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    gathered = len(given) > 1
    for one in given:
        path = Path(one)
        if is_stored(path):
            gathered = True
            files.append(path)
        elif path.is_dir():
            gathered = True
            inside = sorted(p for p in path.iterdir() if _belongs(p.name))
            if not inside:
                raise SourceError(f"the folder {path} has no files that end in {', '.join(ENDINGS)}: is it the right one?")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            matches = sorted(Path(m) for m in glob.glob(str(one)))
            if not matches:
                beside = path.parent.iterdir() if path.parent.is_dir() else ()
                near = [p.name for p in beside if p.name.lower().endswith(ENDINGS)]
                hint = did_you_mean(path.name, near) if 0 < len(near) <= 100 else "check the path"
                raise SourceError(f"there is no file {one}: {hint}")
            gathered = True
            files += matches
    return list(dict.fromkeys(files)), gathered


def _belongs(name: str) -> bool:
    """Whether a file of a folder is meant: settings are often JSON too, so JSON must name a symbol."""
    if name.startswith(".") or not name.lower().endswith(ENDINGS):
        return False
    return _kind(name)[0] != "json" or named_by(name)[1] is not None


def members_of(path: Path) -> list[Member]:
    """The tables in a file: itself, or those a zip archive holds."""
    kind, packed = _kind(path.name)
    if kind is not None:
        return [Member(path, kind, str(path), packed=packed)]
    if not path.name.lower().endswith(".zip"):
        raise UsageError(f"{path}: files that end in {', '.join(ENDINGS)} can be read")
    with trouble(str(path)), zipfile.ZipFile(path) as archive:
        names = [i.filename for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX")]
    inside = sorted(n for n in names if n.lower().endswith((*_TEXT, *_PACKED)) and not Path(n).name.startswith("."))
    if not inside:
        raise DataError(f"{path} holds no file that ends in {', '.join(_TEXT)} ({len(names)} files): unpack it and look")
    found = []
    for name in inside:
        inner_kind, inner_packed = _kind(name)
        assert inner_kind is not None
        found.append(Member(path, inner_kind, str(path) if len(inside) == 1 else f"{path}/{name}", name, inner_packed))
    return found


def _kind(name: str) -> tuple[Kind | None, bool]:
    lower = name.lower()
    packed = lower.endswith(_PACKED)
    lower = lower.removesuffix(".gz") if packed else lower
    return next((kind for ending, kind in _KINDS.items() if lower.endswith(ending)), None), packed


@contextlib.contextmanager
def stream(member: Member) -> Iterator[IO[bytes]]:
    """The bytes of a member, unpacked as they are read; what goes wrong is told as :func:`trouble` tells it."""
    with trouble(member.name), unguarded(member) as raw:
        yield raw


@contextlib.contextmanager
def unguarded(member: Member) -> Iterator[IO[bytes]]:
    """The bytes of a member; errors pass as they are."""
    with contextlib.ExitStack() as open_files:
        raw: IO[bytes]
        if member.inner:
            archive = open_files.enter_context(zipfile.ZipFile(member.path))
            raw = open_files.enter_context(archive.open(member.inner))
        else:
            raw = open_files.enter_context(member.path.open("rb"))
        if member.packed:
            raw = open_files.enter_context(cast("IO[bytes]", gzip.GzipFile(fileobj=raw)))
        yield raw


@contextlib.contextmanager
def trouble(name: str) -> Iterator[None]:
    """Errors of disks and archives inside become a SourceError, those of Arrow and of text a DataError, both naming the file."""
    import pyarrow as pa

    damaged: tuple[Any, ...] = (EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        pa.ArrowTypeError,
        pa.ArrowKeyError,
        pa.ArrowIndexError,
        pa.ArrowSerializationError,
    ) as error:
        raise DataError(f"{name} is not a table that can be read: {_first_line(error)}: open it and check its header and rows") from error
    except (pa.ArrowCapacityError, pa.ArrowMemoryError) as error:
        raise DataError(f"{name} asks for more than can be held, so it is damaged: {_first_line(error)}: get it again") from error
    except OSError as error:
        raise SourceError(f"cannot read {name}: {_first_line(error)}: is the file whole, and of the kind its name says?") from error
    except UnicodeError as error:
        raise DataError(f"{name} is not UTF-8 text ({error}): save it as UTF-8") from error
    except damaged as error:
        raise SourceError(f"cannot read {name}: {_first_line(error)}: is the file whole, and of the kind its name says?") from error


def _first_line(error: Any) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def named_by(name: str) -> tuple[str, str | None, Timeframe | None]:
    """Venue, symbol and timeframe as a file's name tells them.

    >>> named_by("binance_BTCUSDT_1h.parquet")[1:]
    ('BTC/USDT', Timeframe(name='1h'))
    """
    stem = name
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    tokens = [t for t in re.split(r"[_\-\s.]+", stem) if t]
    frame = next((Timeframe(t) for t in tokens if re.fullmatch(r"[1-9]\d{0,4}[smhdwM]", t)), None)
    for at, token in enumerate(tokens):
        pair = split_symbol(f"{token}/{tokens[at + 1]}") if at + 1 < len(tokens) and token.isupper() and tokens[at + 1].isupper() else None
        found = pair or (split_symbol(token) if token.isupper() else None)
        if found:
            return "_".join(tokens[:at]).lower(), found, frame
    return (tokens[0].lower() if tokens and tokens[0].lower() in VENUES else ""), None, frame

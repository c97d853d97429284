"""Candles written in every form that can be imported, and the law of importing: no error but ours, and no row lost silently."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from candelabra.candles.frame import Candles, format_time
from candelabra.errors import CandelabraError
from candelabra.testing.broken import require

__all__ = ["FORM_EXAMPLES", "check_import", "written"]

_NAMES: Final = ("open", "high", "low", "close", "volume")


def written(form: str, candles: Candles) -> tuple[str, bytes]:
    """A file's name and content: these candles in a form of ``FORM_EXAMPLES``, as a user would find it."""
    name, write = FORM_EXAMPLES[form]
    return name.format(coin=candles.symbol.replace("/", ""), tf=candles.timeframe), write(candles)


def check_import(name: str, content: bytes, *, stored: bool = True, **wishes: Any) -> str:
    """Import a file of this name and content for show, and (``stored``) for good; gives how it ended: kept, rejected or refused.

    Raises LawBroken when a row is lost. Any exception that is none of ours is a bug of the importer and passes.
    """
    from candelabra.sources.importing import Wishes, import_files
    from candelabra.sources.store import Store

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        wanted = Wishes(**({"exchange": "test"} | wishes))
        try:
            shown = import_files(path, None, wanted)
        except CandelabraError:
            return "refused"
        done = import_files(path, Store.create(Path(folder) / "store"), wanted) if stored else shown
    lines = _lines_of(name, content, wanted.told)
    for report in (shown, done):
        books = report.books
        if lines is not None and not report.refused:
            require(books.rows == lines, f"{name}: {lines} lines and {books.rows} rows in the books")
        require(books.balanced, f"{name}: {books.rows} rows are not {books.kept} kept + {books.rejected} rejected + {books.left_out}")
        listed = sum(report.kinds.values())
        require(listed == books.rejected, f"{name}: {books.rejected} rows were rejected and {listed} listed")
    same = (shown.books, shown.kinds) == (done.books, done.kinds)
    require(same, f"{name}: a dry run says {shown.books}, {shown.kinds}; the import did {done.books}, {done.kinds}")
    for one in done.series if stored else ():
        came = one.added + one.unchanged + one.revised
        require(came == one.bars, f"{name}: {one.symbol} has {one.bars} bars, and {came} came to the store")
    return "refused" if done.refused else "rejected" if done.books.rejected else "kept"


def _lines_of(name: str, content: bytes, told: Any) -> int | None:
    """How many rows a CSV file has by its lines alone (times the symbols side by side); None for other files."""
    from candelabra.sources.members import Member
    from candelabra.sources.reading import open_member

    if not name.endswith((".csv", ".txt")) or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            reading = open_member(Member(path, "csv", name), told, lenient=True)
        except CandelabraError:
            return None
    return (len(content.splitlines()) - reading.head.skip) * len(reading.layout.series)


def _rows(candles: Candles) -> list[tuple[Any, ...]]:
    return [(int(t), *map(float, v)) for t, *v in zip(candles.open_time, *candles.values(), strict=True)]


def _csv(rows: list[list[Any]], header: str = "", above: str = "", separator: str = ",") -> bytes:
    lines = [above] if above else []
    lines += [header.replace(",", separator)] if header else []
    return "\n".join([*lines, *(separator.join(map(str, row)) for row in rows), ""]).encode()


def _klines(candles: Candles, unit: int = 1, header: str = "") -> bytes:
    step = candles.timeframe.milliseconds
    rows: list[list[Any]] = []
    for k, (t, o, h, low, c, v) in enumerate(_rows(candles)):
        rows.append([t * unit, o, h, low, c, v, (t + step) * unit - 1, v * c, k + 1, v / 2, v * c / 2, 0])
    return _csv(rows, header)


_FUTURES: Final = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"


def _downloaded(candles: Candles) -> bytes:
    rows: list[list[Any]] = []
    for k, (t, o, h, low, c, v) in enumerate(_rows(candles)):
        stamp = f"{np.datetime64(t, 'ms').astype('datetime64[s]').item():%Y-%m-%d %I-%p}"
        both = (v * c, v) if k < len(candles) // 2 else (v, v * c)
        rows.append([f"{t / 1000}", stamp, candles.symbol, o, h, low, c, *both])
    base, quote = candles.symbol.split("/")
    return _csv(rows[::-1], f"unix,date,symbol,open,high,low,close,Volume {base},Volume {quote}", "https://www.CryptoDataDownload.com")


def _wide(candles: Candles) -> bytes:
    base = candles.symbol.split("/")[0]
    names = [f"{coin}:{what}" for coin in (base, "OTHER") for what in _NAMES]
    listed = len(candles) // 3
    rows = [
        [format_time(t), *values, *([v * 2 for v in values] if k >= listed else [""] * 5)] for k, (t, *values) in enumerate(_rows(candles))
    ]
    return _csv(rows, ",".join(["", *names]))


def _kaggle(candles: Candles) -> bytes:
    base = candles.symbol.split("/")[0]
    rows: list[list[Any]] = []
    for k, (t, o, h, low, c, v) in enumerate(_rows(candles)):
        end = np.datetime64(t + candles.timeframe.milliseconds - 1000, "ms").item()
        rows.append([k + 1, "Coin", base, f"{end:%Y-%m-%d %H:%M:%S}", h, low, o, c, v, v * c])
    return _csv(rows, "SNo,Name,Symbol,Date,High,Low,Open,Close,Volume,Marketcap")


def _frame(candles: Candles, time: str) -> Any:
    import pyarrow as pa

    columns = {time: pa.array(candles.open_time, pa.timestamp("ms", "UTC"))}
    return pa.table(columns | {n: pa.array(v) for n, v in zip(_NAMES, candles.values(), strict=True)})


def _feather(candles: Candles) -> bytes:
    import pyarrow.feather

    out = io.BytesIO()
    pyarrow.feather.write_feather(_frame(candles, "date"), out)
    return out.getvalue()


def _parquet(candles: Candles) -> bytes:
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(_frame(candles, "timestamp"), out, row_group_size=max(1, len(candles) // 3))
    return out.getvalue()


def _zip(candles: Candles) -> bytes:
    out = io.BytesIO()
    half = len(candles) // 2
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, part in enumerate((slice(0, half), slice(half, len(candles)))):
            name = f"{candles.symbol.replace('/', '')}-{candles.timeframe}-{k + 1}.csv"
            archive.writestr(name, _klines(candles.rows(part), 1 if k == 0 else 1000))
    return out.getvalue()


def _trade_rows(candles: Candles) -> list[list[Any]]:
    """Four trades a bar that make these candles."""
    step = candles.timeframe.milliseconds
    rows: list[list[Any]] = []
    for t, o, h, low, c, v in _rows(candles):
        for k, price in enumerate((o, h, low, c)):
            rows.append([t + k * (step // 5), str(len(rows) + 1), None, "buy" if k % 2 else "sell", price, v / 4 or 1e-8, price * v / 4])
    return rows


def _trades(candles: Candles) -> bytes:
    rows = [[t, identity, side, price, amount] for t, identity, _, side, price, amount, _ in _trade_rows(candles)]
    return _csv(rows, "timestamp,id,side,price,amount")


def _plain(candles: Candles, separator: str = ",") -> bytes:
    return _csv([[format_time(t), *v] for t, *v in _rows(candles)], "Date,Open,High,Low,Close,Volume", separator=separator)


def _objects(candles: Candles, lines: bool) -> bytes:
    rows = [dict(zip(("timestamp", *_NAMES), row, strict=True)) for row in _rows(candles)]
    return ("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)).encode()


def _columns(candles: Candles) -> bytes:
    return json.dumps({n: list(v) for n, v in zip(("timestamp", *_NAMES), zip(*_rows(candles), strict=True), strict=True)}).encode()


FORM_EXAMPLES: Final[Mapping[str, tuple[str, Callable[[Candles], bytes]]]] = {
    "binance": ("{coin}-{tf}-2023-01.csv", _klines),
    "binance microseconds": ("{coin}-{tf}-2025-01.csv", lambda c: _klines(c, 1000)),
    "binance futures": ("{coin}-{tf}-2023-02.csv", lambda c: _klines(c, header=_FUTURES)),
    "binance zip": ("{coin}-{tf}.zip", _zip),
    "kraken": ("{coin}_60.csv", lambda c: _csv([[t // 1000, *v, k + 1] for k, (t, *v) in enumerate(_rows(c))])),
    "cryptodatadownload": ("Bitstamp_{coin}_{tf}.csv", _downloaded),
    "wide": ("wide.csv", _wide),
    "kaggle": ("coin.csv", _kaggle),
    "freqtrade feather": ("{coin}-{tf}.feather", _feather),
    "freqtrade json": ("{coin}-{tf}.json", lambda c: json.dumps([list(r) for r in _rows(c)]).encode()),
    "freqtrade trades": ("{coin}-trades.json.gz", lambda c: gzip.compress(json.dumps(_trade_rows(c)).encode(), mtime=0)),
    "trades": ("{coin}-trades.csv", _trades),
    "parquet": ("binance_{coin}_{tf}.parquet", _parquet),
    "json objects": ("{coin}.json", lambda c: _objects(c, False)),
    "json lines": ("{coin}.jsonl", lambda c: _objects(c, True)),
    "json columns": ("{coin}_{tf}.json", _columns),
    "plain": ("{coin}_{tf}.csv", _plain),
    "plain semicolons": ("{coin}_{tf}.txt", lambda c: _plain(c, ";")),
    "plain gz": ("{coin}_{tf}.csv.gz", lambda c: gzip.compress(_plain(c), mtime=0)),
}
"""A file's name (``{coin}`` as BTCUSDT, ``{tf}``) and how candles are written in it, by form. Trades make the candles' prices and times;
kaggle's stamps lie a second before the end of a bar, cryptodatadownload's first volumes are swapped, wide's second symbol begins later."""

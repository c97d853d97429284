"""Funding rates of perpetuals beside their candles: fetched with the same distrust, kept in one Parquet file that is whole or not there."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.disk import write_atomically
from candelabra.errors import DataError, UsageError
from candelabra.progress import Reporter, Silent
from candelabra.sources.exchanges.fetching import sole_collector
from candelabra.sources.exchanges.listing import VOTES
from candelabra.sources.exchanges.pace import Patience, persist
from candelabra.sources.exchanges.pages import BadPage
from candelabra.sources.provenance import Span, difference, union
from candelabra.sources.store import Store, symbol_folder

__all__ = ["Funding", "FundingSource", "fetch_funding", "read_funding", "write_funding"]

_FILE: Final = "funding.parquet"
_FACTS: Final = b"candelabra funding"
_SHORTEST_MS: Final = 3_600_000
_USUAL_MS: Final = 8 * 3_600_000
_SETTLED_MS: Final = 300_000


@dataclass(frozen=True, eq=False)
class Funding:
    """``time_ms`` int64 (ms UTC, rising) at which longs paid ``rate`` float64 of their position to shorts ``(n,)``, or were paid.

    ``fetched``: the stretches that were asked for; a time in them without a rate was none. ``revised``: how many rates came with another
    value later.
    """

    time_ms: NDArray[np.int64]
    rate: NDArray[np.float64]
    fetched: tuple[Span, ...] = ()
    simulated: bool = False
    revised: int = 0

    def __len__(self) -> int:
        return len(self.time_ms)


@runtime_checkable
class FundingSource(Protocol):
    """A source that has funding rates: at most ``funding_page`` of them a request, checked, newest word."""

    name: str
    funding_page: int

    async def now_ms(self) -> int:
        """The exchange's time."""
        ...

    async def funding(self, symbol: str, start_ms: int, end_ms: int) -> Funding:
        """The rates due in ``[start_ms, end_ms)``; the newest of them when there are more than a page."""
        ...


def read_funding(store: Store, symbol: str, exchange: str) -> Funding:
    """What is kept of a symbol's funding rates; nothing when nothing is. DataError when the file is damaged."""
    import pyarrow.parquet as pq

    path = _path(store, symbol, exchange)
    if not path.exists():
        return Funding(np.zeros(0, np.int64), np.zeros(0))
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        facts = json.loads(table.schema.metadata[_FACTS])
        times = np.array(table.column("time").to_numpy(), np.int64)
        rates = np.array(table.column("rate").to_numpy(), np.float64)
        spans = tuple((int(a), int(b)) for a, b in facts["fetched"])
        found = Funding(times, rates, spans, bool(facts["simulated"]), int(facts["revised"]))
        if (facts["symbol"], facts["exchange"], facts["digest"]) != (symbol, exchange, _digest(found)):
            raise ValueError("it is of another symbol, or not what was written")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}): move it away and fetch the funding rates again") from error


def write_funding(store: Store, symbol: str, exchange: str, new: Funding) -> Funding:
    """Keep rates over those there are, by time; gives all. Written whole: the same again changes nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    old = read_funding(store, symbol, exchange)
    if len(old) and len(new) and old.simulated != new.simulated:
        raise DataError(f"{symbol} of {exchange}: funding rates of a simulated market and real ones do not mix: use another store")
    shared, at_old, at_new = np.intersect1d(old.time_ms, new.time_ms, return_indices=True)
    revised = int((old.rate[at_old] != new.rate[at_new]).sum()) if len(shared) else 0
    kept = ~np.isin(old.time_ms, new.time_ms)
    times, rates = np.concatenate([old.time_ms[kept], new.time_ms]), np.concatenate([old.rate[kept], new.rate])
    order = np.argsort(times)
    spans = tuple(union([*old.fetched, *new.fetched]))
    whole = Funding(times[order], rates[order], spans, new.simulated or old.simulated, old.revised + revised)
    facts = {
        "exchange": exchange, "symbol": symbol, "fetched": spans, "simulated": whole.simulated, "revised": whole.revised, "format": 1,
        "digest": _digest(whole),
    }  # fmt: skip
    time_type = pa.timestamp("ms", tz="UTC")
    table = pa.table({"time": pa.array(whole.time_ms, pa.int64()).cast(time_type), "rate": whole.rate})
    held = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({_FACTS: json.dumps(facts)}), held, compression="zstd", write_page_checksum=True)
    write_atomically(_path(store, symbol, exchange), held.getvalue())
    return whole


async def fetch_funding(
    source: Any,
    store: Store,
    symbol: str,
    start_ms: int,
    end_ms: int,
    *,
    progress: Reporter | None = None,
    patience: Patience | None = None,
) -> Funding:
    """Fetch what is not yet kept of the rates due in ``[start_ms, end_ms)``; gives everything that is kept.

    Every stretch is asked for until two answers agree, an empty one three times. What lies before the first rate that can be had is not
    noted as fetched: some exchanges keep a few months only. UsageError for an exchange or symbol without funding.
    """
    if not isinstance(source, FundingSource):
        raise UsageError(f"{source.name} has no history of funding rates: leave --funding out")
    if ":" not in symbol:
        raise UsageError(f"{symbol} is no perpetual, so nobody pays funding: write it as in BTC/USDT:USDT, or leave --funding out")
    patience, watch = patience or Patience(), progress or Silent()
    now = await persist(source.now_ms, patience)
    end = min(end_ms, now - _SETTLED_MS)
    with sole_collector(store, source.name, symbol, "funding"):
        kept = read_funding(store, symbol, source.name)
        for start, stop in difference([(start_ms, max(start_ms, end))], kept.fetched):
            at, width = start, source.funding_page * _USUAL_MS
            while at < stop:
                edge = min(stop, at + width)
                got = await _agreed(source, symbol, at, edge, patience)
                if len(got) >= source.funding_page and width > source.funding_page * _SHORTEST_MS:
                    width //= 2  # due more often than thought: there may be more than a page holds
                    continue
                if len(got) or len(kept):
                    kept = write_funding(store, symbol, source.name, got)
                watch.advance(len(got))
                at = edge
    return kept


async def _agreed(source: FundingSource, symbol: str, start: int, end: int, patience: Patience) -> Funding:
    """What two separate answers say alike; that there is nothing, three must say."""
    answers: list[Funding] = []
    for _ in range(patience.attempts):
        got = await persist(lambda: source.funding(symbol, start, end), patience)
        same = [one for one in answers if np.array_equal(one.time_ms, got.time_ms) and np.array_equal(one.rate, got.rate)]
        if len(same) + 1 >= (2 if len(got) else VOTES):
            return got
        answers.append(got)
    raise BadPage(f"{source.name}: no two answers agree on the funding rates of {symbol} from {format_time(start)}: try again later")


def _path(store: Store, symbol: str, exchange: str) -> Path:
    return store.root / exchange / symbol_folder(symbol) / _FILE


def _digest(funding: Funding) -> str:
    seal = hashlib.sha256(json.dumps([funding.fetched, funding.simulated, funding.revised]).encode())
    seal.update(np.ascontiguousarray(funding.time_ms).tobytes())
    seal.update(np.ascontiguousarray(funding.rate).tobytes())
    return seal.hexdigest()

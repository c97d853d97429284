"""What may be sent: typed strictly, numbers finite and in range, nothing unknown; heavy bodies go from bytes to arrays without detours.

Where a key is there twice, the last one counts.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from candelabra.candles.frame import Candles
from candelabra.errors import CandelabraError
from candelabra.serving.refusals import Refusal, refusal_of

__all__ = ["Columns", "ForecastBody", "PredictBody", "candles_of", "parse"]

T = TypeVar("T")

Time = Annotated[int, Meta(ge=0, lt=4_102_444_800_000, description="ms since 1970, UTC")]
Price = Annotated[float, Meta(gt=0, le=1e15)]
Volume = Annotated[float, Meta(ge=0, le=1e18)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,24}(/[A-Za-z0-9._-]{1,24}(:[A-Za-z0-9._-]{1,24})?)?$", examples=["BTC/USDT"])]
Frame = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}[smhdwM]$", examples=["1h"])]
Row = tuple[Time, Price, Price, Price, Price, Volume]


class Columns(msgspec.Struct, forbid_unknown_fields=True):
    """Closed candles by column: open times rising, all columns of one length."""

    open_time: list[Time]
    open: list[Price]
    high: list[Price]
    low: list[Price]
    close: list[Price]
    volume: list[Volume]


class ForecastBody(msgspec.Struct, forbid_unknown_fields=True):
    """Raw closed candles of one symbol: by timeframe, as columns or as rows ``[open time, open, high, low, close, volume]``.

    The timeframes the bundle needs, or one that they are made of. ``at_ms``: as of this moment; what closed later is not read.
    """

    symbol: Symbol
    candles: Annotated[dict[Frame, Columns | list[Row]], Meta(min_length=1, max_length=16)]
    at_ms: Time | None = None


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """Prepared features of the base timeframe, oldest bar first, in the order that ``GET /v1/bundle`` lists under ``sequence``.

    As computed, or with ``scaled`` true as the bundle's scaler made them. ``last_close``: without it, no close can be given.
    ``volatility``: standard deviation of the log return of one base bar now; without it, the training range's typical one is assumed.
    """

    sequence: Annotated[list[list[Number]], Meta(min_length=1)]
    scaled: bool = False
    last_close: Price | None = None
    volatility: Annotated[float, Meta(gt=1e-9, le=10)] | None = None


_DECODERS: Final[dict[type, msgspec.json.Decoder[object]]] = {kind: msgspec.json.Decoder(kind) for kind in (ForecastBody, PredictBody)}


def parse(body: bytes, kind: type[T]) -> T:
    """A body as ``kind``; Refusal 400 for what is no JSON, 422 for JSON that is something else, with the place."""
    try:
        return _DECODERS[kind].decode(body)  # type: ignore[return-value]
    except msgspec.ValidationError as error:
        raise Refusal(422, "body", f"the body does not fit: {error}; /openapi.json says what it must be") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(
            400, "json", f"the body is not JSON ({error}): send one JSON object in UTF-8; NaN and Infinity are no JSON numbers"
        ) from None


def candles_of(body: ForecastBody) -> list[Candles]:
    """The candles of a body, checked; Refusal 422 that names every timeframe whose candles cannot be."""
    made, wrong = [], []
    for frame, given in body.candles.items():
        if isinstance(given, Columns):
            columns = (given.open_time, given.open, given.high, given.low, given.close, given.volume)
        else:
            columns = tuple(map(list, zip(*given, strict=True))) if given else ([],) * 6  # type: ignore[assignment]
        try:
            made.append(Candles.of(body.symbol, frame, *columns))
        except CandelabraError as error:
            wrong.append(error)
    if wrong:
        raise refusal_of(wrong)
    return made

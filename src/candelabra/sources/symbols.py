"""How a market is written: ``BTCUSDT``, ``XBT_USD`` and ``btc-usdt`` as ``BTC/USDT``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["spelled", "split_symbol"]

_QUOTES: Final = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USD", "EUR", "GBP", "JPY", "TRY", "BRL", "BTC", "XBT", "ETH", "BNB")
_WITH_TUSD: Final = frozenset(
    [
        "ADA",
        "ALGO",
        "ATOM",
        "AVAX",
        "BCH",
        "BNB",
        "BSV",
        "BTC",
        "DOGE",
        "EOS",
        "ETC",
        "ETH",
        "FDUSD",
        "LINK",
        "LTC",
        "MATIC",
        "NEO",
        "SHIB",
        "SOL",
        "TRX",
        "USDC",
        "XLM",
        "XRP",
    ]
)
"""DOTUSD is DOT/USD and BTCTUSD is BTC/TUSD: these coins have a market in TUSD."""
_OTHER_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}  # Kraken's and BitMEX's


def split_symbol(text: str) -> str | None:
    """``BTCUSDT``, ``BTC_USDT`` or ``XBT/USDT`` as ``BTC/USDT``; None when no known quote currency ends it.

    >>> split_symbol("XBTUSD"), split_symbol("BTCTUSD"), split_symbol("xrp-eth"), split_symbol("hello")
    ('BTC/USD', 'BTC/TUSD', 'XRP/ETH', None)
    """
    word = text.strip().upper()
    parts = re.split(r"[/_\-:]", word)
    if len(parts) == 2 and all(re.fullmatch(r"[A-Z0-9]{2,12}", p) for p in parts) and parts[1] in _QUOTES:
        return "/".join(_OTHER_NAMES.get(p, p) for p in parts)
    if len(parts) == 1:
        for quote in _QUOTES:
            head = word.removesuffix(quote)
            if quote == "TUSD" and head not in _WITH_TUSD:
                continue
            if head != word and re.fullmatch(r"[A-Z0-9]{2,12}", head):
                return f"{_OTHER_NAMES.get(head, head)}/{_OTHER_NAMES.get(quote, quote)}"
    return None


def spelled(text: str, quote: str = "") -> str:
    """A symbol as candles spell it; ``quote`` joins one that names no quote currency.

    >>> spelled("btcusd"), spelled("DOGE", "USD"), spelled("DOGE")
    ('BTC/USD', 'DOGE/USD', 'DOGE')
    """
    word = text.strip()
    known = split_symbol(word)
    if known is None and quote and re.fullmatch(r"[A-Za-z0-9]{1,12}", word):
        upper = word.upper()
        return f"{_OTHER_NAMES.get(upper, upper)}/{quote}"
    return known or word

"""Files as accidents leave them: bytes changed, cut, doubled, swapped for what readers stumble over."""

from __future__ import annotations

from random import Random
from typing import Final

__all__ = ["mutated"]

_TOKENS: Final = (
    b",", b"\n", b'"', b"nan", b"-", b"1e999", b"\0", b"\xff", b"[", b"{", b"]", b"}", b":", b";", b"\t", b"0", b"9" * 20, b"\r\n", b"null",
    b"true", b"open", b"PAR1", b"ARROW1", b"2020-01-01", b".", b" ", b"1.234.567", b"\xef\xbb\xbf", b"\xff\xfe",
)  # fmt: skip
_PLACES: Final = (b",", b"\n", b".", b"1", b"2")


def mutated(content: bytes, random: Random) -> bytes:
    """The content after one to eight accidents."""
    out = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        at, size = random.randrange(len(out) + 1), len(out)
        kind = random.randrange(8)
        if kind == 0 and size:
            out[min(at, size - 1)] = random.randrange(256)
        elif kind == 1:
            out[at:at] = random.choice(_TOKENS)
        elif kind == 2:
            del out[at : at + random.choice((1, 2, 10, 100, 1000))]
        elif kind == 3:
            out[at:at] = out[at : at + random.choice((1, 10, 60, 500))]
        elif kind == 4 and random.random() < 0.3:
            del out[at:]
        elif kind == 5:
            other, length = random.randrange(size + 1), random.choice((1, 8, 60))
            out[at : at + length] = out[other : other + length]
        elif kind == 6:
            out[at : at + random.choice((1, 4, 8))] = random.choice(_TOKENS)
        else:
            found = out.find(random.choice(_PLACES), at)
            if found >= 0:
                out[found : found + 1] = random.choice(_TOKENS)
    return bytes(out)

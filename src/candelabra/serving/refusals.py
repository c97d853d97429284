"""What a request is answered that cannot be served: JSON in the words of `CandelabraError`, never a page and never an echo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from candelabra.errors import CandelabraError

__all__ = ["PROBLEMS", "ErrorAnswer", "Refusal", "json_response", "refusal_of"]

PROBLEMS: Final = 10
"""How many problems an answer lists at most."""

_LONGEST: Final = 600


class Problem(msgspec.Struct):
    """Why a request was refused: ``message`` says what was got, why it cannot be and what to do; ``more`` further ones of its kind."""

    status: int
    kind: str
    message: str
    more: list[str] = []


class ErrorAnswer(msgspec.Struct):
    """The body of every answer that is not 2xx."""

    error: Problem


class Refusal(Exception):
    """A request that is answered with an error. ``problems``: one message each, the first of them the main one."""

    def __init__(self, status: int, kind: str, *problems: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(*problems)
        self.status, self.kind, self.problems, self.headers = status, kind, problems, dict(headers or {})

    def response(self) -> Response:
        """The answer; lists and texts are capped, so that an answer is never larger than it helps."""
        texts = [_short(p) for p in self.problems[:PROBLEMS]]
        if len(self.problems) > PROBLEMS:
            texts.append(f"and {len(self.problems) - PROBLEMS} more")
        return json_response(ErrorAnswer(Problem(self.status, self.kind, texts[0], texts[1:])), self.status, self.headers)


def refusal_of(errors: Sequence[CandelabraError]) -> Refusal:
    """A request whose content cannot be: 422, with each error's own words."""
    kind = type(errors[0]).__name__.removesuffix("Error").lower()
    return Refusal(422, kind, *map(str, errors))


def json_response(answer: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``answer`` as JSON."""
    return Response(msgspec.json.encode(answer), status, headers, media_type="application/json")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."

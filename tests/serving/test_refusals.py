"""Bodies that cannot be are answered 4xx, at once, in our words, with nothing echoed that is no JSON."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import httpx
import pytest
from starlette.types import Message

from candelabra.bundles.predictor import Prediction, Predictor
from candelabra.candles.frame import Candles
from candelabra.serving.api import ServingSettings, create_app
from candelabra.serving.limits import Limits
from candelabra.serving.refusals import PROBLEMS, Refusal

Ask = Callable[..., httpx.Response]
HOUR = 3_600_000
ROW = "[0, 1.0, 1.0, 1.0, 1.0, 1.0]"


def rows(*given: str, tf: str = "1h", symbol: str = '"BTC/USDT"', more: str = "") -> str:
    return f'{{"symbol": {symbol}, "candles": {{"{tf}": [{", ".join(given)}]}}{more}}}'


def sequence(text: str, more: str = "") -> str:
    return f'{{"sequence": {text}{more}}}'


LONG = ", ".join(f"[{k * HOUR}, 1, 1, 1, 1, 1]" for k in range(40))
COLUMNS = '{"symbol": "A/B", "candles": {"1h": {"open_time": [0], "open": [1], "high": [1], "low": [1], "close": [1], "volume": [1]%s}}}'
MALFORMED: dict[str, tuple[str, str | bytes]] = {
    # no JSON
    "nothing": ("/v1/forecast", ""),
    "a cut body": ("/v1/forecast", rows(ROW)[:-3]),
    "two documents": ("/v1/forecast", rows(ROW) + rows(ROW)),
    "a page": ("/v1/forecast", "<html>maintenance</html>"),
    "bad UTF-8": ("/v1/forecast", b'{"symbol": "\xff\xfe", "candles": {}}'),
    "half a surrogate": ("/v1/forecast", rows(ROW, symbol='"\\ud800"')),
    "a NUL": ("/v1/forecast", b"\x00"),
    "brackets without end": ("/v1/forecast", "[" * 200_000),
    "objects without end": ("/v1/forecast", '{"candles":' * 100_000),
    "NaN for a price": ("/v1/forecast", rows("[0, NaN, 1, 1, 1, 1]")),
    "Infinity for a price": ("/v1/forecast", rows("[0, Infinity, 1, 1, 1, 1]")),
    "NaN in a sequence": ("/predict", sequence("[[NaN]]")),
    # JSON of another form
    "null": ("/v1/forecast", "null"),
    "a list": ("/v1/forecast", "[]"),
    "an empty object": ("/v1/forecast", "{}"),
    "no symbol": ("/v1/forecast", '{"candles": {"1h": []}}'),
    "no candles": ("/v1/forecast", '{"symbol": "A/B", "candles": {}}'),
    "an unknown key": ("/v1/forecast", rows(ROW, more=', "cheat": 1')),
    "an unknown column": ("/v1/forecast", COLUMNS % ', "vwap": [1]'),
    "a number for the symbol": ("/v1/forecast", rows(ROW, symbol="5")),
    "a path for the symbol": ("/v1/forecast", rows(ROW, symbol='"../../etc/passwd"')),
    "a long symbol": ("/v1/forecast", rows(ROW, symbol='"' + "A" * 100_000 + '"')),
    "an unknown timeframe": ("/v1/forecast", rows(ROW, tf="5T")),
    "a monstrous timeframe": ("/v1/forecast", rows(ROW, tf="99999999999999999999d")),
    "true for a price": ("/v1/forecast", rows("[0, true, 1, 1, 1, 1]")),
    "text for a price": ("/v1/forecast", rows('[0, "1", 1, 1, 1, 1]')),
    "a fraction for a time": ("/v1/forecast", rows("[0.5, 1, 1, 1, 1, 1]")),
    "1e999 for a price": ("/v1/forecast", rows("[0, 1e999, 1e999, 1, 1, 1]")),
    "5,000 digits": ("/v1/forecast", rows(f"[{'9' * 5000}, 1, 1, 1, 1, 1]")),
    "a row of five": ("/v1/forecast", rows("[0, 1, 1, 1, 1]")),
    # candles that are none
    "no rows": ("/v1/forecast", rows()),
    "a negative price": ("/v1/forecast", rows("[0, -1, 1, -1, 1, 1]")),
    "high below low": ("/v1/forecast", rows("[0, 2, 1, 3, 2, 1]")),
    "a time twice": ("/v1/forecast", rows(ROW, ROW)),
    "a time off the grid": ("/v1/forecast", rows("[61000, 1, 1, 1, 1, 1]")),
    "columns of two lengths": ("/v1/forecast", COLUMNS.replace('"open": [1]', '"open": [1, 2]') % ""),
    "too few candles": ("/v1/forecast", rows(LONG.replace(" ", ""), tf="15m")),
    "nothing closed by then": ("/v1/forecast", rows(LONG, more=', "at_ms": 5')),
    "only coarse candles": ("/v1/forecast", rows("[0, 1, 1, 1, 1, 1]", tf="1w").replace("[0,", "[345600000,")),
    # sequences
    "an empty sequence": ("/predict", sequence("[]")),
    "rows of nothing": ("/predict", sequence("[[], []]")),
    "a flat sequence": ("/predict", sequence("[1, 2, 3]")),
    "rows of two lengths": ("/predict", sequence("[[1, 2], [1]]")),
    "a short sequence": ("/predict", sequence("[[1, 2, 3]]")),
    "a last close of zero": ("/predict", sequence("[[1]]", ', "last_close": 0')),
    "text for scaled": ("/predict", sequence("[[1]]", ', "scaled": "yes"')),
}


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_there_are_forty_bodies_at_least() -> None:
    assert len(MALFORMED) >= 40


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_body_is_answered_4xx_within_a_second(name: str, ask: Ask) -> None:
    path, text = MALFORMED[name]
    start = time.perf_counter()
    answer = ask("POST", path, content=text, headers={"content-type": "application/json"})
    seconds = time.perf_counter() - start
    assert 400 <= answer.status_code < 500, answer.text
    assert seconds < 1.0
    error = strict(answer.text)["error"]
    assert error["status"] == answer.status_code
    assert len(error["message"]) > 20
    assert len(answer.content) < 10_000
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("NaN for a price", 400, "NaN and Infinity are no JSON numbers"),
        ("an unknown key", 422, "cheat"),
        ("true for a price", 422, r"$.candles[...][0][1]"),
        ("high below low", 422, "is not a valid candle: open 2 high 1 low 3 close 2"),
        ("a time twice", 422, "repeats the row before it"),
        ("too few candles", 422, "closed bars, "),
        ("a short sequence", 422, "the sequence has 1 rows of 3 numbers: 11 rows of"),
    ],
)
def test_a_refusal_says_what_was_got_and_what_is_needed(name: str, status: int, words: str, ask: Ask) -> None:
    path, text = MALFORMED[name]
    answer = ask("POST", path, content=text, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_every_timeframe_that_cannot_be_is_named_up_to_a_cap(ask: Ask) -> None:
    bad = "[0, 2, 1, 3, 2, 1]"
    frames = ", ".join(f'"{n}h": [{bad}]' for n in range(1, 15))
    answer = ask(
        "POST", "/v1/forecast", content=f'{{"symbol": "A/B", "candles": {{{frames}}}}}', headers={"content-type": "application/json"}
    )
    error = answer.json()["error"]
    assert error["message"].startswith("A/B 1h: row 0")
    assert [text.partition(":")[0] for text in error["more"]] == [*(f"A/B {n}h" for n in range(2, PROBLEMS + 1)), "and 4 more"]


def test_a_body_must_be_sent_as_json(ask: Ask, body: dict[str, Any]) -> None:
    text = json.dumps(body)
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}):
        assert ask("POST", "/v1/forecast", content=text, headers=headers).status_code == 415
    assert ask("POST", "/v1/forecast", content=text, headers={"content-type": "application/json; charset=utf-8"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/forecast/", 404), ("POST", "/v2/forecast", 404), ("GET", "/../etc/passwd", 404),
     ("GET", "/v1/forecast", 405), ("DELETE", "/health", 405), ("PUT", "/predict", 405), ("OPTIONS", "/predict", 405)],
)  # fmt: skip
def test_what_is_not_there_is_said_in_json(method: str, path: str, status: int, ask: Ask) -> None:
    answer = ask(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["status"] == status
    if status == 405:
        assert answer.headers["allow"]


def test_a_name_that_is_not_this_machine_gets_no_answer(ask: Ask) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:80"):
        assert ask("GET", "/health", headers={"host": host}).status_code == 400
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"):
        assert ask("GET", "/health", headers={"host": host}).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_read(predictor: Predictor, ask: Ask, body: dict[str, Any]) -> None:
    tight = create_app(predictor, ServingSettings(body_limit=1000))
    answer = ask("POST", "/v1/forecast", of=tight, json=body)
    assert answer.status_code == 413
    assert "larger than 1,000 bytes" in answer.json()["error"]["message"]

    async def parts():  # type: ignore[no-untyped-def]  # without a length, bytes are counted as they come
        for _ in range(100):
            yield b" " * 100

    assert ask("POST", "/v1/forecast", of=tight, content=parts(), headers={"content-type": "application/json"}).status_code == 413


def test_a_body_that_does_not_come_is_given_up() -> None:
    sent: list[Message] = []

    async def never(*_: object) -> None:
        pytest.fail("the application was reached")

    async def asked() -> None:
        came = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Message:
            for message in came:
                return message
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")]}
        await Limits(never, body_bytes=100, seconds=0.05)(scope, receive, send)

    start = time.perf_counter()
    asyncio.run(asked())
    assert time.perf_counter() - start < 1
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["message"] == "the body was not here after 0.05 seconds: send it at once"


class Slow(Predictor):
    """A predictor that waits until it may go on."""

    go: threading.Event

    def forecast(self, *given: Any, **more: Any) -> list[Prediction]:
        assert self.go.wait(20)
        return super().forecast(*given, **more)


def test_health_answers_while_forecasts_run_and_what_is_too_much_is_told_to_come_again(predictor: Predictor, body: dict[str, Any]) -> None:
    slow = Slow(**{f.name: getattr(predictor, f.name) for f in fields(predictor)})
    object.__setattr__(slow, "go", threading.Event())
    app = create_app(slow, ServingSettings(queue=2))

    async def asked() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            running = [asyncio.create_task(client.post("/v1/forecast", json=body)) for _ in range(3)]
            while (health := await client.get("/health")).json()["waiting"] < 3:
                await asyncio.sleep(0.01)
            busy = await client.post("/v1/forecast", json=body)
            slow.go.set()
            return await asyncio.gather(*running), health, busy

    answers, health, busy = asyncio.run(asked())
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert answers[0].content == answers[1].content == answers[2].content
    assert health.json()["status"] == "ready"
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) >= 1
    assert "run one at a time: ask again in" in busy.json()["error"]["message"]


def test_our_own_failure_is_a_500_in_json_without_its_insides(predictor: Predictor, ask: Ask, body: dict[str, Any]) -> None:
    class Broken(Predictor):
        def forecast(self, *_: Any, **__: Any) -> list[Prediction]:
            raise ZeroDivisionError("secret")

    app = create_app(Broken(**{f.name: getattr(predictor, f.name) for f in fields(predictor)}))
    answer = ask("POST", "/v1/forecast", of=app, json=body)
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "bug"
    assert "secret" not in answer.text


def test_an_answer_that_is_not_finite_is_never_sent(predictor: Predictor, ask: Ask, body: dict[str, Any]) -> None:
    class Wild(Predictor):
        def forecast(self, candles: Candles | Any, at: int | None = None) -> list[Prediction]:
            (one,) = super().forecast(candles, at)
            object.__setattr__(one, "mean", (float("nan"),) * len(one.mean))
            return [one]

    app = create_app(Wild(**{f.name: getattr(predictor, f.name) for f in fields(predictor)}))
    answer = ask("POST", "/v1/forecast", of=app, json=body)
    assert answer.status_code == 422
    assert "not finite" in answer.json()["error"]["message"]


def test_long_texts_and_lists_are_cut() -> None:
    error = json.loads(Refusal(422, "x", *["y" * 5000] * 50).response().body)["error"]
    assert len(error["message"]) == 600
    assert len(error["more"]) == PROBLEMS
    assert error["more"][-1] == "and 40 more"

"""What the live loop shows: a screen on a terminal, a line an event elsewhere, or events as JSON lines."""

from __future__ import annotations

import json
import math
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from candelabra.cli.console import out, plain, table

if TYPE_CHECKING:
    from candelabra.bundles.predictor import Prediction
    from candelabra.live.loop import Event, Live, Post

__all__ = ["shown", "summary"]

_STYLES: Final = {"live": "green", "warming": "cyan", "stale": "yellow", "recovering": "yellow", "halted": "bold red"}
_KEPT: Final = 6


@contextmanager
def shown(*, as_json: bool = False, quiet: bool = False) -> Iterator[Callable[[Live], None]]:
    """How to show a loop: give it to what this yields."""
    if as_json:
        yield lambda loop: loop.subscribe(_json_line)
    elif quiet:
        yield lambda loop: None
    elif sys.stdout.isatty():
        with _screen() as begin:
            yield begin
    else:
        yield lambda loop: loop.subscribe(lambda event: _line(event))


def _json_line(event: Event) -> None:
    told = {"kind": event.kind, "subject": event.subject, "at_ms": event.at_ms, **event.body}
    print(json.dumps(plain(told), ensure_ascii=False, allow_nan=False), flush=True)


def _line(event: Event) -> None:
    text = words(event)
    if text:
        print(text, flush=True)


def words(event: Event) -> str:
    """An event for people; empty where it needs no line."""
    from candelabra.candles.frame import format_time

    at, body = format_time(event.at_ms // 1000 * 1000), event.body
    if event.kind == "prediction":
        return f"{at} {event.subject} {_forecast(body)}"
    if event.kind == "state":
        return f"{at} {event.subject}: {body['before']} -> {body['after']}: {body['why']}"
    if event.kind in ("warning", "note"):
        return f"{at} {event.kind}: {body['text']}"
    if event.kind == "bundle":
        contest = body.get("contest")
        if contest is not None:
            return f"{at} challenger {contest['challenger']}: {contest['why']}"
        return f"{at} bundle {body['bundle']} takes over: {body['why']}"
    if event.kind == "paper":
        ended = [f"{t['reason']} {100 * t['profit']:+.2f} %" for t in body["trades"]]
        return f"{at} {event.subject} on paper: {'; '.join(ended)}; equity {body['equity']:.4f}" if ended else ""
    return ""


def summary(loop: Live) -> list[str]:
    """What a run came to, in a few lines."""
    lines = []
    for post in loop.posts.values():
        equity = "" if post.newest is None or post.newest.paper is None else f", paper equity {post.newest.paper.equity:.4f}"
        lines.append(f"{post.symbol}: {post.total:,} closed bars of {loop.base} in the journal, {post.health.state}{equity}")
    for rolling in next(iter(loop.posts.values())).figures.values():
        if rolling.bars:
            lines.append(f"{rolling.horizon}: {_figures(rolling)}")
    return lines


def _figures(rolling: Any) -> str:
    parts = [f"{rolling.bars:,} forecasts judged"]
    cover = rolling.coverage.get(0.9)
    if cover is not None and math.isfinite(cover.value):
        parts.append(f"90 % intervals held {100 * cover.value:.0f} %")
    hardest = [(i.value, n, i) for (m, n), i in rolling.skill.items() if m == "crps" and math.isfinite(i.value)]
    if hardest:
        value, name, interval = min(hardest, key=lambda one: one[0])
        parts.append(f"skill in quantile loss over {name} {100 * value:+.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})")
    return ", ".join(parts)


def _forecast(body: dict[str, Any]) -> str:
    levels, prices = body["levels"], body["prices"]
    low, high = (min(range(len(levels)), key=lambda k: abs(levels[k] - wanted)) for wanted in (0.05, 0.95))
    places = max(0, 5 - math.floor(math.log10(body["close"])))
    spans = [f"{h} {prices[k][low]:.{places}f}..{prices[k][high]:.{places}f}" for k, h in enumerate(body["horizons"])]
    regimes = [f"{tf} {max(p, key=lambda n: p[n])}" for tf, p in body["regimes"].items()]
    return f"close {body['close']:.{places}f}; 90 %: {', '.join(spans)}{'; ' + ', '.join(regimes) if regimes else ''}"


@contextmanager
def _screen() -> Iterator[Callable[[Live], None]]:
    from rich.live import Live as Screen

    loops: list[Live] = []
    said: deque[str] = deque(maxlen=_KEPT)

    def begin(loop: Live) -> None:
        loops.append(loop)

        def hear(event: Event) -> None:
            if event.kind in ("state", "warning", "note", "bundle", "paper") and (text := words(event)):
                said.append(text)

        loop.subscribe(hear)

    with Screen(console=out(), get_renderable=lambda: _picture(loops, said), refresh_per_second=2, transient=False):
        yield begin


def _picture(loops: list[Live], said: deque[str]) -> Any:
    from rich.console import Group
    from rich.text import Text

    if not loops:
        return Text("opening ...")
    loop = loops[0]
    state = loop.exchange.state
    head = Text.assemble(
        (f"{loop.exchange.subject} ", "bold"), (state, _STYLES[state]), f"  bundle {loop.opened.id}  ", ("no real orders", "dim")
    )
    columns = ("symbol", "state", "newest bar", "close", "90 % of each horizon", "regimes", "paper")
    rows = [_row(loop, post) for post in loop.posts.values()]
    figures = [Text(f"{r.horizon}: {_figures(r)}") for r in next(iter(loop.posts.values())).figures.values() if r.bars]
    return Group(head, table(columns, rows, numbers=("close", "paper")), *figures, *(Text(line, style="dim") for line in said))


def _row(loop: Live, post: Post) -> tuple[Any, ...]:
    from rich.text import Text

    from candelabra.candles.frame import format_minute

    state, taken = Text(post.health.state, style=_STYLES[post.health.state]), post.newest
    if taken is None:
        return post.symbol, state, "", "", "", "", ""
    age = (loop.clock.now_ms() + loop.source.skew_ms - taken.step.as_of_ms) / 60_000
    prediction: Prediction | None = taken.step.prediction
    newest = f"{format_minute(taken.step.as_of_ms)}, {age:.0f} min ago"
    paper = "" if taken.paper is None else f"{taken.paper.equity:.4f} ({taken.paper.target:+.0%})"
    if prediction is None:
        return post.symbol, state, newest, "", "not enough is known", "", paper
    told = _forecast(prediction.to_dict())
    close, _, rest = told.removeprefix("close ").partition("; 90 %: ")
    spans, _, regimes = rest.partition("; ")
    return post.symbol, state, newest, close, spans, regimes, paper

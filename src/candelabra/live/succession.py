"""Succession: a challenger trained on a schedule, and the champion it must clearly beat on a stretch that neither has seen.

The challenger learns from the store's candles up to a cut, in a process of its own. After the cut both are told the same candles one by
one. It takes over only where the 95 % paired block-bootstrap interval (blocks of a week) of its skill over the champion is above 0 in
quantile loss or in QLIKE, and below 0 in neither; a tie keeps the champion. Each try is written to the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.errors import CandelabraError, DataError
from candelabra.live.feed import feed_timeframe, history_start, newest_stretch
from candelabra.live.follow import Follower
from candelabra.live.loop import Live
from candelabra.live.seat import Opened, open_bundle
from candelabra.metrics.forecast import qlike
from candelabra.metrics.quantiles import crps
from candelabra.metrics.significance import block_bootstrap
from candelabra.sources.store import Store
from candelabra.windows.recipe import Recipe
from candelabra.windows.targets import candle_targets

__all__ = ["Contest", "Schedule", "challenge", "contest", "succeed", "train_challenger"]

DAY_MS: Final = 86_400_000
_LEAST_ROWS: Final = 100
_RESAMPLES: Final = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """Every ``every_ms`` (the clock's time) a challenger, trained on what is older than ``unseen_ms``, the stretch both are judged on.

    ``runs``: folder for its runs; ``arguments``: more for `candelabra train`, as in ``("--set", "training.steps=300")``; ``history_ms``:
    how much it learns from (None: all that is stored).
    """

    every_ms: int
    unseen_ms: int = 28 * DAY_MS
    runs: Path = Path("runs")
    arguments: tuple[str, ...] = ()
    history_ms: int | None = None


@dataclass(frozen=True)
class Contest:
    """A challenger against the champion from ``start_ms`` to ``end_ms``: its skill in each loss with the interval, and who goes on.

    ``rows``: forecasts of a horizon that were compared; ``why`` in words.
    """

    champion: str
    challenger: str
    start_ms: int
    end_ms: int
    rows: int
    crps: tuple[float, float, float]
    qlike: tuple[float, float, float]
    wins: bool
    why: str


async def succeed(live: Live, schedule: Schedule) -> None:
    """Until cancelled: a challenge whenever one is due; what goes wrong with one is told, and the champion goes on."""
    last = live.journal.fact("challenged_ms")
    due = (live.clock.now_ms() if last is None else int(last)) + schedule.every_ms
    while True:
        await live.clock.sleep(max(0.0, min(due - live.clock.now_ms(), 60_000 * max(1.0, live.clock.rate / 60))) / 1000)
        if live.clock.now_ms() < due:
            continue
        try:
            found = await challenge(live, schedule)
            body = asdict(found)
            live.tell("bundle", live.source.name, {"contest": body})
        except CandelabraError as error:
            live.tell("warning", live.source.name, {"text": f"no challenger this time: {error}"})
        due = live.clock.now_ms() + schedule.every_ms
        live.journal.set_fact("challenged_ms", str(live.clock.now_ms()))


async def challenge(live: Live, schedule: Schedule) -> Contest:
    """One challenge; the challenger takes over at once when it wins. Raises DataError when there is too little to train or to judge on."""
    position = min((live.journal.position(s) or 0) for s in live.settings.symbols)
    cut = int(live.base.floor(position - schedule.unseen_ms))
    folder = schedule.runs / f"challenger-{format_time(position).replace(' ', 'T').replace(':', '')}"
    bundle = await train_challenger(live.opened.path, live.store, live.source.name, live.settings.symbols, cut, folder, schedule)
    champion, challenger = live.opened, open_bundle(bundle)
    if champion.predictor.segmenter is not None and challenger.predictor.segmenter is None:
        raise DataError(
            f"the champion tells regimes and the challenger {challenger.id} learned none: train the champion with --labels FILE, so that "
            "its settings know where they lie"
        )
    feed = feed_timeframe(champion.predictor)
    start = max([cut, *(b for one in (champion, challenger) for _, b in one.predictor.manifest.ranges.values())])
    needed = min(history_start(one.predictor, start, one.keep) for one in (champion, challenger))
    stretches = [newest_stretch(live.store, live.source.name, s, feed, needed, position) for s in live.settings.symbols]
    candles = [c for c in stretches if c is not None]
    found = await asyncio.to_thread(contest, champion, challenger, candles, start)
    if found.wins:
        live.use(challenger, f"clearly better than {champion.id}: {found.why}")
    return found


async def train_challenger(
    champion: Path, store: Store, exchange: str, symbols: Sequence[str], cut_ms: int, folder: Path, schedule: Schedule
) -> Path:
    """`candelabra train` with the champion's settings on candles that close by ``cut_ms``, in a process that yields to all others."""
    until = format_time(cut_ms).replace(" ", "T")
    words = [sys.executable, "-m", "candelabra", "train", str(store.root / exchange), "--config", str(champion / "config.toml")]
    words += ["--until", until, "--out", str(folder), "--quiet", "--json", *schedule.arguments]
    if schedule.history_ms is not None:
        words += ["--since", format_time(cut_ms - schedule.history_ms).replace(" ", "T")]
    for symbol in symbols:
        words += ["--symbol", symbol]
    folder.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        text = said.decode(errors="replace").strip().splitlines()
        raise DataError(f"training a challenger on candles up to {until} failed: {text[-1] if text else process.returncode}")
    return folder / "bundle"


def contest(champion: Opened, challenger: Opened, candles: Sequence[Candles], start_ms: int) -> Contest:
    """Both bundles on the same candles, told one by one from ``start_ms`` on, which must lie after everything that either has seen.

    ``candles``: one series a symbol, with enough before ``start_ms``. DataError where one has seen any of it or little can be compared.
    """
    for one in (champion, challenger):
        seen = max((int(one.predictor.recipe.base.floor(b)) for _, b in one.predictor.manifest.ranges.values()), default=0)
        if seen > start_ms:  # a range ends just after the close of its last bar
            raise DataError(
                f"the bundle {one.id} has seen candles up to {format_time(seen)}, and was to be judged from {format_time(start_ms)} on: "
                "wait until there are later ones"
            )
    recipe = champion.predictor.recipe
    common = [h for h in recipe.horizons if h in challenger.predictor.recipe.horizons]
    if not common or challenger.predictor.recipe.base != recipe.base:
        raise DataError("champion and challenger foretell nothing in common: train it with the champion's timeframes and horizons")
    table: list[Floats] = []
    for own in candles:
        mine, theirs = (_losses(one, own, start_ms, [h.name for h in common]) for one in (champion, challenger))
        times = sorted(set(mine) & set(theirs))
        table.append(np.array([np.stack([mine[t], theirs[t]]) for t in times]).reshape(len(times), 2, len(common), 2))
    losses = np.concatenate(table) if table else np.zeros((0, 2, len(common), 2))
    losses = losses[np.isfinite(losses).all(axis=(1, 2, 3))]
    if len(losses) < _LEAST_ROWS:
        raise DataError(f"{len(losses)} forecasts of both can be compared, {_LEAST_ROWS} are needed: let more time pass")
    block = max(1, min(7 * DAY_MS // recipe.base.milliseconds, len(losses) // 4))
    skills = [_skill(losses[:, :, :, k], block) for k in range(2)]
    wins, why = decide(skills[0], skills[1])
    end = max(int(c.close_time[-1]) for c in candles)
    return Contest(champion.id, challenger.id, start_ms, end, len(losses), skills[0], skills[1], wins, why)


def decide(quantile: tuple[float, float, float], volatility: tuple[float, float, float]) -> tuple[bool, str]:
    """Whether a challenger takes over, from its skill (value, low, high) over the champion in quantile loss and in QLIKE.

    >>> decide((0.05, 0.01, 0.09), (0.0, -0.02, 0.02))[0], decide((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))[0]
    (True, False)
    """
    named = {"quantile loss": quantile, "QLIKE": volatility}
    better = [f"{n}: {100 * s[0]:.1f} % ({100 * s[1]:.1f} to {100 * s[2]:.1f})" for n, s in named.items() if s[1] > 0.0]
    worse = [n for n, s in named.items() if s[2] < 0.0]
    if better and not worse:
        return True, f"clearly less {', '.join(better)}"
    return False, f"clearly worse in {' and '.join(worse)}" if worse else "not clearly better: the champion goes on"


def _losses(opened: Opened, candles: Candles, start_ms: int, horizons: Sequence[str]) -> dict[int, Floats]:
    """Quantile loss and QLIKE ``(horizons, 2)`` of each forecast from ``start_ms`` on, by its time."""
    from candelabra.live.feed import spanning

    predictor, recipe = opened.predictor, opened.predictor.recipe
    start = int(recipe.base.ceil(start_ms))
    follower = Follower(predictor, spanning(candles, candles.span[0], start))
    said = {s.as_of_ms: s.prediction for s in follower.advance(spanning(candles, start, candles.span[1])) if s.prediction is not None}
    times, actual, volatility = _outcomes(candles, recipe, start)
    names = [h.name for h in recipe.horizons]
    found: dict[int, Floats] = {}
    for at, prediction in said.items():
        row = int(np.searchsorted(times, at))
        if row >= len(times) or times[row] != at:
            continue
        one = np.full((len(horizons), 2), np.nan)
        for k, name in enumerate(horizons):
            h = names.index(name)
            if math.isfinite(actual[row, h]):
                one[k, 0] = crps(np.array([prediction.quantiles[h]]), [actual[row, h]], prediction.levels)[0]
                one[k, 1] = qlike([volatility[row, h]], [prediction.log_volatility[h]], predictor.calibration.variance_scale[h])[0]
        found[at] = one
    return found


def _outcomes(candles: Candles, recipe: Recipe, start_ms: int) -> tuple[NDArray[np.int64], Floats, Floats]:
    from candelabra.candles.resample import resample

    base = resample(candles, recipe.base)
    targets = candle_targets(base, recipe.horizons, resample(candles, recipe.volatility_timeframe))
    late = base.close_time >= start_ms
    return base.close_time[late], targets.returns[late], targets.log_volatility[late]


def _skill(losses: Floats, block: int) -> tuple[float, float, float]:
    """1 - challenger's loss / champion's of ``(rows, 2, horizons)``, horizons weighing alike, with its interval."""
    scale = losses[:, 0].mean(axis=0)
    table = (losses / np.where(scale > 0.0, scale, 1.0)).mean(axis=2)

    def statistic(s: Floats) -> Floats:
        return np.asarray(1.0 - s[..., 1] / np.where(s[..., 0] > 0.0, s[..., 0], np.nan))

    found = block_bootstrap(statistic, table, block, resamples=_RESAMPLES)
    return found.value, found.low, found.high

"""`check_causal` and its kin: the audits as checks for your own tests; LawBroken says column, time and distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.evaluation.answers import Answer, as_answer
from candelabra.evaluation.causality import Probe, audit, audit_future
from candelabra.evaluation.findings import Audit, Finding
from candelabra.evaluation.layers import audit_layers
from candelabra.evaluation.refit import Fit, audit_fit
from candelabra.evaluation.spans import audit_split
from candelabra.evaluation.staleness import audit_fresh
from candelabra.evaluation.streaming import audit_stream
from candelabra.evaluation.subject import LAW_3, Effort
from candelabra.evaluation.subjects import FrameKind, Rule, function_subject, rule_subject
from candelabra.evaluation.worlds import Arrays, Market, World
from candelabra.testing.broken import LawBroken
from candelabra.testing.markets import example_candles

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "check_all",
    "check_causal",
    "check_decisions",
    "check_fit",
    "check_fresh",
    "check_labels",
    "check_layers",
    "check_split",
    "check_streaming",
    "require_clean",
]

Given = Candles | Mapping[str, Candles] | list[Candles] | tuple[Candles, ...] | None


def require_clean(audit: Audit) -> Audit:
    """The audit, or LawBroken with every finding in words."""
    if not audit.passed:
        raise LawBroken("; ".join(f.words for f in audit.findings), audit)
    return audit


def check_causal(
    function: Callable[..., Any], candles: Given = None, *, given: FrameKind | None = None, rounding: float = 1e-10, seed: int = 0
) -> Audit:
    """LawBroken if anything ``function`` gives for a bar moves when only later candles change.

    ``function``: candles (or a frame; see `evaluation.subjects.function_subject`) -> array, columns by name or frame, one row a bar.
    ``candles``: what to check on (default: a simulated hourly market of 1,200 bars with gaps).

    >>> import numpy as np
    >>> check_causal(lambda c: np.diff(np.log(c.close), prepend=np.nan)).passed
    True
    >>> check_causal(lambda c: np.roll(c.close, -2))
    Traceback (most recent call last):
    ...
    candelabra.testing.broken.LawBroken: output at 2020-01-01 03:00 reads 2 bars ahead (2h)
    """
    probe = Probe.start(function_subject(function, given=given, rounding=rounding), _world(candles), seed)
    return require_clean(_audit(probe, audit_future(probe, Effort())))


def check_fresh(
    function: Callable[..., Any], candles: Given = None, *, given: FrameKind | None = None, delays: Mapping[str, int] | None = None
) -> Audit:
    """LawBroken if a column hears of the newest bar late; ``delays`` names columns that lag on purpose, and by how many bars.

    >>> import numpy as np
    >>> check_fresh(lambda c: np.append(np.nan, c.close[:-1]))
    Traceback (most recent call last):
    ...
    candelabra.testing.broken.LawBroken: output is 1 bar late (1h)
    """
    probe = Probe.start(function_subject(function, given=given, delays=delays), _world(candles))
    return require_clean(_audit(probe, audit_fresh(probe, Effort())))


def check_streaming(
    function: Callable[..., Any],
    candles: Given = None,
    *,
    given: FrameKind | None = None,
    stream: Callable[[], Callable[[Candles], Any]] | None = None,
    warm_up: int | None = None,
    steps: int = 40,
) -> Audit:
    """LawBroken unless candles one by one give what the whole history gives, within 1e-5 of max(|value|, the column's spread).

    Without ``stream`` the function is asked again with the history cut at one close after another, and, when ``warm_up`` is given,
    with that many bars before each close alone. ``stream``: makes a fresh object that is called with each closed candle (`Candles` of one
    bar, from the first on) and gives that bar's row: a number, an array, or numbers by name.
    """
    world = _world(candles)
    subject = function_subject(function, given=given, warm_up=warm_up)
    probe = Probe.start(subject, world)
    findings = audit_stream(probe, Effort(steps=steps))
    if stream is not None:
        findings += _one_by_one(probe, stream, subject.name)
    return require_clean(_audit(probe, findings))


def check_all(function: Callable[..., Any], candles: Given = None, *, effort: Effort | None = None, seed: int = 0, **options: Any) -> Audit:
    """Everything at once: point in time, fresh, stream equals batch; options as `evaluation.subjects.function_subject` has them."""
    return require_clean(audit(function_subject(function, **options), _world(candles), effort=effort, seed=seed))


def check_labels(function: Callable[..., Any], candles: Given = None, *, given: FrameKind | None = None) -> Audit:
    """LawBroken if a label reads past the ``known_at`` it states; ``function`` gives ``(columns by name, known_at ms)``."""
    probe = Probe.start(function_subject(function, given=given, fresh="no"), _world(candles))
    return require_clean(_audit(probe, audit_future(probe, Effort())))


def check_decisions(
    rule: Rule, arrays: Mapping[str, NDArray[Any]], time_ms: NDArray[np.int64], *, fresh: bool = True, effort: Effort | None = None
) -> Audit:
    """LawBroken if a decision rule (arrays in, positions out) decides with rows that become known later, or a row late."""
    subject = rule_subject(rule)
    world = Arrays(np.asarray(time_ms, np.int64), arrays)
    probe = Probe.start(subject, world)
    chosen = effort or Effort()
    findings = [*audit_future(probe, chosen), *(audit_fresh(probe, chosen) if fresh else []), *audit_stream(probe, chosen)]
    return require_clean(_audit(probe, findings))


def check_fit(fit: Fit, candles: Given, until_ms: int | Mapping[str, int], *, name: str = "", seeds: int = 2) -> Audit:
    """LawBroken if anything that ``fit`` learns or chooses has other bits when the candles after ``until_ms`` are scrambled.

    ``fit``: candles -> constants by name (weights, centers, thresholds, the step stopped at); ``until_ms``: until when candles may be
    read, for all constants or by the beginning of their names.
    """
    world = _world(candles)
    assert isinstance(world, Market)
    one = len(world.candles) == 1

    def run(changed: Market) -> Mapping[str, Any]:
        return fit(changed.finest if one else changed.candles)

    return require_clean(audit_fit(name or getattr(fit, "__name__", "fit"), run, world, until_ms, seeds=seeds))


def check_split(
    parts: Mapping[str, NDArray[np.int64]],
    time_ms: NDArray[np.int64],
    known_ms: NDArray[np.int64],
    *,
    unit_ms: int,
    embargo_ms: int = 0,
    look_back_ms: int | None = None,
) -> Audit:
    """LawBroken if targets of one part are known only after a later part has begun, or an embargo does not hold."""
    found = audit_split("split", parts, time_ms, known_ms, unit_ms=unit_ms, embargo_ms=embargo_ms, look_back_ms=look_back_ms)
    return require_clean(found)


def check_layers(
    module: nn.Module,
    inputs: Tensor | Mapping[str, Tensor],
    *,
    modes: tuple[Literal["train", "eval"], ...] = ("train", "eval"),
    **options: Any,
) -> Audit:
    """LawBroken, with the name of the first layer, if a network's past moves when later positions of its inputs change, in either mode."""
    given = dict(inputs) if isinstance(inputs, Mapping) else {"x": inputs}
    return require_clean(audit_layers(type(module).__name__, module, given, modes=modes, **options))


def _world(candles: Given) -> World:
    return Market.of(example_candles(bars=1_200) if candles is None else candles)


def _audit(probe: Probe, findings: list[Finding]) -> Audit:
    rows, columns = probe.base.values.shape
    return Audit(probe.subject.name, tuple(findings), probe.tried, tuple(probe.notes), columns, rows, probe.seed, probe.world.fingerprint)


def _one_by_one(probe: Probe, make: Callable[[], Callable[[Candles], Any]], name: str) -> list[Finding]:
    assert isinstance(probe.world, Market)
    candles = probe.world.finest
    step = make()
    rows: list[Any] = []
    for k in range(len(candles)):
        row = step(candles.rows(slice(k, k + 1)))
        rows.append({n: np.atleast_1d(v) for n, v in row.items()} if isinstance(row, Mapping) else np.atleast_1d(row))
    probe.tried["one by one"] = len(rows)
    whole: Any = {n: np.concatenate([r[n] for r in rows]) for n in rows[0]} if isinstance(rows[0], dict) else np.stack(rows)
    if isinstance(whole, np.ndarray) and whole.shape[1:] == (1,):
        whole = whole[:, 0]
    streamed: Answer = as_answer(whole, candles)
    found = []
    for column, label in enumerate(probe.base.names):
        if label not in streamed.names:
            detail = f"the stream gives no {label}: it gives {', '.join(streamed.names)}"
            found.append(Finding(name, "stream", label, None, probe.world.unit, detail=detail))
            continue
        a, b = probe.base.values[:, column], streamed.values[:, streamed.names.index(label)]
        with np.errstate(invalid="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= LAW_3 * np.maximum(np.abs(a), probe.spread[column]))
        if not same.all():
            row_ = int(np.argmin(same))
            detail = f"the stream gives {b[row_]:.6g}, the whole history {a[row_]:.6g}; {int((~same).sum()):,} rows differ"
            found.append(Finding(name, "stream", label, None, probe.world.unit, int(probe.base.time_ms[row_]), detail=detail))
    return found

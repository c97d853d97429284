"""What can be audited, by its spelling: ``feature:SPEC``, ``model:NAME``, ``labeller:NAME``, ``decoder:KIND``, ``statechart``,
``regime-inputs``, ``module:function``, ``file.py:function``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, get_args

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError, UsageError
from candelabra.evaluation.causality import audit
from candelabra.evaluation.findings import Audit
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.subjects import FrameKind, feature_subject, function_subject, labeller_subject, model_subject
from candelabra.evaluation.worlds import Market
from candelabra.features.catalog import FEATURES, parse
from candelabra.pipeline.audit_pieces import PIECES, audit_piece, is_piece
from candelabra.regimes.labeller import LABELLERS, new_labeller
from candelabra.registry import did_you_mean

__all__ = ["FunctionOptions", "audit_target", "is_bundle", "load_function", "newest"]

_FRAMES: Final = get_args(FrameKind)


@dataclass(frozen=True)
class FunctionOptions:
    """How a function of the user's own is audited; see `evaluation.subjects.function_subject`."""

    given: FrameKind | None = None
    fresh: Literal["each", "any", "no"] = "each"
    delays: Mapping[str, int] = field(default_factory=dict)
    warm_up: int | None = None

    def __post_init__(self) -> None:
        if self.given is not None and self.given not in _FRAMES:
            raise UsageError(f"a function can be given {', '.join(_FRAMES)}, not {self.given!r}")
        if self.fresh not in ("each", "any", "no"):
            raise UsageError(f"fresh is each, any or no, not {self.fresh!r}")
        if self.warm_up is not None and self.warm_up < 0:
            raise UsageError(f"a warm-up is a number of bars, got {self.warm_up}: give 0 or more")


def is_bundle(target: str) -> bool:
    """Whether a target is the folder of a bundle or of a run."""
    return Path(target).is_dir() or (":" not in target and target not in PIECES)


def audit_target(target: str, candles: Sequence[Candles], options: FunctionOptions, seed: int = 0) -> list[Audit]:
    """Audits of one target that is no bundle; UsageError for what cannot be found or run."""
    if is_piece(target):
        return audit_piece(target, candles, seed)
    kind, _, rest = target.partition(":")
    if kind == "feature":
        return [_of_all(spec, candles, seed) for spec in _catalog()] if rest in ("all", "*") else [_feature(rest, candles, seed)]
    if kind == "labeller":
        return [_labeller(name, candles, seed) for name in (LABELLERS.names() if rest in ("all", "*") else [rest])]
    if kind == "model":
        return [_model(rest, candles, seed)]
    function = load_function(target)
    subject = function_subject(
        function, name=target, given=options.given, fresh=options.fresh, delays=options.delays, warm_up=options.warm_up
    )
    return [audit(subject, Market.of(list(candles)), seed=seed)]


def newest(candles: Sequence[Candles], bars: int, target: str) -> list[Candles]:
    """The newest ``bars`` bars that a target works on, and what other timeframes have in that time (0: everything).

    Those of the longest timeframe for a feature, a model or a piece of regimes, of the finest for a function.
    """
    pick = max if is_piece(target) or target.startswith(("feature:", "model:", "labeller:")) else min
    own = pick(candles, key=lambda c: c.timeframe)
    if not bars or len(own) <= bars:
        return list(candles)
    start = int(own.open_time[-bars])
    return [c.between(start_ms=start) for c in candles]


def _catalog() -> list[str]:
    return [parse(name if name != "talib" else "talib.CCI").spec for name in FEATURES.names()]


def _of_all(spec: str, candles: Sequence[Candles], seed: int) -> Audit:
    """One feature of the catalog; a note where these candles cannot make it."""
    try:
        return _feature(spec, candles, seed)
    except CandelabraError as refused:
        return Audit(spec, notes=(str(refused)[:200],))


def _feature(spec: str, candles: Sequence[Candles], seed: int) -> Audit:
    """One feature at the longest of the timeframes given; the finer ones are there for features that read them."""
    feature = parse(spec)
    longest = max(candles, key=lambda c: c.timeframe)
    finer = [a for a in feature.arguments if isinstance(a, str) and _is_finer(a, longest.timeframe)]
    wanted = [c for c in candles if c is longest or c.timeframe.name in finer]
    lacking = [a for a in finer if a not in {c.timeframe.name for c in candles}]
    if lacking:
        raise UsageError(f"{spec} reads {lacking[0]} candles, which were not given: give them with --candles")
    if longest.timeframe.name in finer:  # a market of one timeframe can still be looked at from a longer one, whose inside it is
        wanted = [longest, resample(longest, f"{12 * longest.timeframe.count}{longest.timeframe.unit}")]
    return audit(feature_subject([feature]), Market.of(wanted), seed=seed)


def _labeller(name: str, candles: Sequence[Candles], seed: int) -> Audit:
    """A labeller with its default settings at the longest of the timeframes given; a note where it cannot label them."""
    LABELLERS.entry(name)
    try:
        labeller = new_labeller(name)
        effort = Effort.light() if labeller.reach.whole else None
        found = audit(labeller_subject(labeller), Market.of(max(candles, key=lambda c: c.timeframe)), effort=effort, seed=seed)
        told = (
            ("its labels are known at the end of the candles only, so no earlier moment could be judged",) if labeller.reach.whole else ()
        )
        return replace(found, notes=(*found.notes, *told))
    except CandelabraError as refused:
        return Audit(f"labeller {name}", notes=(str(refused)[:200],))


def _is_finer(argument: str, than: Timeframe) -> bool:
    try:
        return Timeframe(argument) <= than
    except UsageError:
        return False


def _model(name: str, candles: Sequence[Candles], seed: int) -> Audit:
    """A registered model with its default settings, fitted on the first 80 % of the base candles and asked for its newest forecasts."""
    from candelabra.models.base import FitData
    from candelabra.models.registry import new_model
    from candelabra.windows.recipe import Recipe, build_series
    from candelabra.windows.splits import chronological
    from candelabra.windows.targets import make_targets

    base = max(candles, key=lambda c: c.timeframe)
    market = Market.of(base)
    frame = base.timeframe
    recipe = Recipe(frame, horizons=(f"{frame.count}{frame.unit}", f"{6 * frame.count}{frame.unit}"))
    series = build_series(base, recipe)
    split = chronological([series.close_time], purge_ms=recipe.purge_ms)
    data = FitData((series,), (make_targets(series, recipe),), split.train, split.validation, seed)
    fitted = new_model(name).fit(data)
    return audit(model_subject(fitted, recipe, market), market, effort=Effort.light(), seed=seed)


def load_function(target: str) -> Callable[..., Any]:
    """The function ``module:name`` or ``path/to/file.py:name`` (nested names by dots); UsageError says what is missing and what is near."""
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise UsageError(
            f"{target!r} is nothing that can be audited: give a bundle's folder, feature:SPEC, model:NAME, labeller:NAME, decoder:KIND, "
            "statechart, regime-inputs, module:function or path/to/file.py:function"
        )
    module = _file(Path(where)) if where.endswith(".py") else _module(where)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = [n for n in dir(found) if not n.startswith("_") and callable(getattr(found, n))]
            near = did_you_mean(part, public) if public else "it has no functions"
            raise UsageError(f"{where} has no {part!r}: {near}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{target} is a {type(found).__name__}, not a function that takes candles")
    return found  # type: ignore[no-any-return]


def _module(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"there is no module {error.name!r} here or among the installed packages: give module:function from the folder it lies in, or "
            "path/to/file.py:function"
        ) from error
    except CandelabraError:
        raise
    except Exception as error:
        raise UsageError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of a Python file, as in strategies/mine.py:features")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be read as Python: give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    return module

"""The pytest plugin: a fixture ``causality_audit`` that holds your own functions to the laws, and a marker for the market it does so on.

It is loaded by every pytest run where candelabra is installed, so it imports nothing of candelabra until the fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from candelabra.candles.frame import Candles
    from candelabra.evaluation.findings import Audit

__all__ = ["CausalityAudit"]

_MARKER = "causality_audit"
_KNOWN = ("candles", "timeframe", "bars", "seed", "gaps")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--causality-candles`` and the ini key ``causality_candles``: real candles for every audit."""
    group = parser.getgroup("candelabra")
    group.addoption("--causality-candles", metavar="PATH", help="candles that causality_audit audits on (default: a simulated market)")
    parser.addini("causality_candles", "candles that causality_audit audits on (file, folder or glob)", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(candles=None, timeframe='1h', bars=1200, seed=0, gaps=True): the market that the fixture {_MARKER} audits on",
    )
    config.stash[_DONE] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What was audited, and in how many runs."""
    done = config.stash.get(_DONE, [])
    if done:
        wrong = sum(not a.passed for a in done)
        runs = sum(sum(a.tried.values()) for a in done)
        terminalreporter.write_line(f"causality audits: {len(done)} in {runs:,} disturbed runs, {wrong} with findings")


_DONE: pytest.StashKey[list[Audit]] = pytest.StashKey()


class CausalityAudit:
    """What the fixture gives: call it with a function of candles, or use one check by name. A failure says column, time and distance."""

    def __init__(self, market: Callable[[], Any], done: list[Audit]) -> None:
        self._make, self._done = market, done
        self._market: Any = None

    @property
    def candles(self) -> Candles | list[Candles]:
        """The market audited on."""
        if self._market is None:
            self._market = self._make()
        return self._market  # type: ignore[no-any-return]

    def __call__(self, function: Callable[..., Any], candles: Any = None, **options: Any) -> Audit:
        """Point in time, fresh, stream equals batch; options as `candelabra.testing.check_all` has them."""
        return self._check("all", function, candles, options)

    def causal(self, function: Callable[..., Any], candles: Any = None, **options: Any) -> Audit:
        """Nothing moves when only later candles change."""
        return self._check("causal", function, candles, options)

    def fresh(self, function: Callable[..., Any], candles: Any = None, **options: Any) -> Audit:
        """Every column hears of the newest bar."""
        return self._check("fresh", function, candles, options)

    def streaming(self, function: Callable[..., Any], candles: Any = None, **options: Any) -> Audit:
        """Candles one by one give what the whole history gives."""
        return self._check("streaming", function, candles, options)

    def labels(self, function: Callable[..., Any], candles: Any = None, **options: Any) -> Audit:
        """A label reads no further than the ``known_at`` it states."""
        return self._check("labels", function, candles, options)

    def fit(self, fit: Callable[..., Mapping[str, Any]], until_ms: int | Mapping[str, int], candles: Any = None, **options: Any) -> Audit:
        """What is learned has the same bits when everything after ``until_ms`` is scrambled."""
        from candelabra.testing import check_fit

        return self._kept(lambda: check_fit(fit, self.candles if candles is None else candles, until_ms, **options))

    def layers(self, module: Any, inputs: Any, **options: Any) -> Audit:
        """No layer's past moves when later positions change, in training and in evaluation mode."""
        from candelabra.testing import check_layers

        return self._kept(lambda: check_layers(module, inputs, **options))

    def _check(self, name: str, function: Callable[..., Any], candles: Any, options: dict[str, Any]) -> Audit:
        from candelabra import testing

        check = getattr(testing, f"check_{name}")
        return self._kept(lambda: check(function, self.candles if candles is None else candles, **options))

    def _kept(self, call: Callable[[], Audit]) -> Audit:
        from candelabra.testing import LawBroken

        __tracebackhide__ = True
        try:
            audit = call()
        except LawBroken as broken:
            self._done.extend([broken.audit] if broken.audit is not None else [])
            raise pytest.fail.Exception(str(broken), pytrace=False) from None
        self._done.append(audit)
        return audit


@pytest.fixture
def causality_audit(request: pytest.FixtureRequest) -> CausalityAudit:
    """Audit functions of candles: ``causality_audit(my_features)`` fails with the column, the first output that moved, and the distance."""
    marker = request.node.get_closest_marker(_MARKER)
    options = dict(marker.kwargs) if marker is not None else {}
    unknown = [k for k in options if k not in _KNOWN]
    if unknown or (marker is not None and marker.args):
        raise pytest.UsageError(f"the marker {_MARKER} takes {', '.join(_KNOWN)} by name, got {', '.join(unknown) or marker.args}")
    where = options.pop("candles", None) or request.config.getoption("--causality-candles") or request.config.getini("causality_candles")
    return CausalityAudit(lambda: _market(where, options), request.config.stash[_DONE])


def _market(where: Any, options: dict[str, Any]) -> Any:
    if where is None or where == "":
        from candelabra.testing import example_candles

        return example_candles(**({"bars": 1_200} | options))
    if not isinstance(where, str):
        return where
    from candelabra.sources.files import read_candles

    found = read_candles(where)
    return found[0] if len(found) == 1 else found

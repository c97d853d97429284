"""The whole page: sections in order, style, script and plotly.js in one file that asks nobody for anything."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

from candelabra.errors import UsageError
from candelabra.report import (
    calibration,
    causality,
    closes,
    configuration,
    fan,
    features,
    learning,
    quality,
    regimes,
    results,
    skill,
    trading,
    verdict,
    volatility,
)
from candelabra.report.inputs import ReportInputs
from candelabra.report.markup import Section, escape

__all__ = ["NO_SCRIPT", "document", "render", "section_keys", "write_plain", "write_report", "write_section"]

ORDER = (
    verdict.section,
    fan.section,
    closes.section,
    volatility.section,
    regimes.section,
    skill.section,
    calibration.section,
    trading.section,
    learning.section,
    quality.section,
    features.section,
    causality.section,
    results.section,
    configuration.section,
)

# The browser itself then refuses any request, whatever a library or a name in the data tries.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)

NO_SCRIPT = "<noscript><p class='aside'>The figures need JavaScript, which runs from this file alone; the tables do without.</p></noscript>"


def write_report(inputs: ReportInputs, path: Path) -> None:
    """Write the report to ``path`` (HTML, about 5 MB, most of it plotly.js); whole or not at all, the same bytes for the same inputs."""
    _write(path, render(inputs))


def write_section(inputs: ReportInputs, key: str, path: Path) -> None:
    """Write one section alone (no navigation, no head): for pictures in documents. Keys: :func:`section_keys`."""
    found = {s.key: s for s in _sections(inputs)}
    if key not in found:
        raise UsageError(f"this report has no section {key!r}: choose one of {', '.join(found)}")
    body = f'<main class="alone"><section id="{escape(key)}"><h2>{escape(found[key].title)}</h2>{found[key].body}</section></main>'
    _write(path, document(found[key].title, body))


def write_plain(title: str, body: str, path: Path) -> None:
    """Write a page without figures (finished HTML in ``body``): the report's style, no script."""
    _write(path, document(title, f"<main>{body}</main>", figures=False))


def section_keys(inputs: ReportInputs) -> tuple[str, ...]:
    """Keys of the sections these inputs have something to show for, in order of the page."""
    return tuple(s.key for s in _sections(inputs))


def render(inputs: ReportInputs) -> str:
    """The page as text."""
    sections = _sections(inputs)
    links = "".join(f'<a href="#{escape(s.key)}">{escape(s.nav)}</a>' for s in sections)
    drawn = "".join(f'<section id="{escape(s.key)}"><h2>{escape(s.title)}</h2>{s.body}</section>' for s in sections)
    title = f"{', '.join(inputs.run.symbols[:3])} · candelabra report"
    badge = '<span class="badge">SIMULATED</span>' if inputs.run.simulated else ""
    nav = f'<nav aria-label="Sections"><div>{badge}{links}</div></nav>'
    return document(title, f"{nav}<main>{verdict.header(inputs)}{NO_SCRIPT}{drawn}</main>")


def _sections(inputs: ReportInputs) -> list[Section]:
    return [s for s in (draw(inputs) for draw in ORDER) if s is not None]


def document(title: str, body: str, *, figures: bool = True) -> str:
    """A page of finished HTML: style, and the script and plotly.js when there are ``figures``."""
    scripts = f"<script>{_plotly_js()}</script><script>{_asset('page.js')}</script>" if figures else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head><body>{body}"
        f"{scripts}</body></html>\n"
    )


@cache
def _asset(name: str) -> str:
    return resources.files("candelabra.report").joinpath(name).read_text("utf-8")


@cache
def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

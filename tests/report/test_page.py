"""The page as a whole: offline, escaped, complete, small, the same bytes each time, and whole or absent on disk."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.errors import DataError, UsageError
from candelabra.report import markup, page
from candelabra.report.inputs import CloseView, ReportInputs, RunFacts, SymbolQuality, VolatilityView

LOADING = {"src", "href", "srcset", "action", "formaction", "poster", "data", "background", "xlink:href", "ping"}
EVIL = """<img src=x onerror=alert(1)></script><script>alert(2)</script><a href="https://evil.example/">'"&"""


class Reader(HTMLParser):
    """Tags, attributes and scripts of a page, as a browser's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside == "style":
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    @property
    def specs(self) -> list[dict[str, Any]]:
        holders = [attrs for tag, attrs in self.tags if tag == "script"]
        return [json.loads(s, parse_constant=refuse) for s, a in zip(self.scripts, holders, strict=True) if "data-for" in a]


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture(scope="module")
def whole(full_inputs: ReportInputs) -> Reader:
    return Reader(page.render(full_inputs))


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for v in value.values() for s in strings(v)]
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


def test_nothing_on_the_page_loads_from_anywhere(whole: Reader) -> None:
    for tag, attrs in whole.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "img"}
        for name, value in attrs.items():
            assert name not in LOADING or (value or "").startswith("#"), (tag, name, value)
    assert not re.search(r"url\(|@import|https?:", "".join(whole.styles))
    ours = [s for s in whole.scripts if "plotly.js v" not in s[:200]]
    assert len(ours) == len(whole.scripts) - 1
    assert not any(re.search(r"https?:|//[a-z]+\.", s) for s in ours)


def test_the_browser_is_told_to_refuse_any_request(whole: Reader) -> None:
    policies = [a["content"] for tag, a in whole.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0] is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policies[0].split(";"))
    assert rules["default-src"] == "'none'"
    assert not any("*" in v or "http" in v for v in rules.values())
    assert "connect-src" not in rules  # falls back to 'none'


def test_every_section_is_there_and_every_link_leads_to_one(whole: Reader) -> None:
    sections = [a["id"] for tag, a in whole.tags if tag == "section"]
    links = [str(a["href"])[1:] for tag, a in whole.tags if tag == "a"]
    assert sections == links
    order = "verdict fan closes volatility skill calibration learning quality features limits results configuration"
    assert sections == order.split()


def test_every_figure_has_a_place_a_caption_and_a_unique_name(whole: Reader) -> None:
    places = [a["id"] for tag, a in whole.tags if tag == "div" and a.get("class") == "plot"]
    assert places == [a["data-for"] for tag, a in whole.tags if tag == "script" and "data-for" in a]
    assert len(set(places)) == len(places) > 12
    assert sum(tag == "figcaption" for tag, _ in whole.tags) == len(places)
    ids = [a["id"] for _, a in whole.tags if "id" in a]
    assert len(set(ids)) == len(ids)


def test_every_figure_is_a_lawful_plotly_figure(simulated_inputs: ReportInputs, whole: Reader) -> None:
    import plotly.graph_objects as go

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return "#123456" if isinstance(value, str) and value.startswith("@") else value

    for spec in whole.specs + Reader(page.render(simulated_inputs)).specs:
        figure = go.Figure(plain(spec))  # raises on an attribute plotly does not know
        assert len(figure.data) == len(spec["data"]) > 0


def test_every_colour_named_by_a_figure_exists_in_both_palettes(simulated_inputs: ReportInputs, whole: Reader) -> None:
    script = (Path(page.__file__).parent / "page.js").read_text()
    palettes = dict(re.findall(r"(light|dark): \{(.*?)\n    \}", script, re.S))
    assert set(palettes) == {"light", "dark"}
    known = [set(re.findall(r"(\w+): \"", body)) for body in palettes.values()]
    used = {s[1:] for spec in whole.specs + Reader(page.render(simulated_inputs)).specs for s in strings(spec) if s.startswith("@")}
    assert used
    assert used <= known[0]
    assert known[0] == known[1]


def test_names_given_by_users_cannot_become_markup(named: Callable[[str], ReportInputs]) -> None:
    base = named(EVIL)
    evil = dataclasses.replace(
        base,
        run=dataclasses.replace(base.run, model=EVIL, bundle_id=EVIL, summary=EVIL, timeframes=(EVIL,)),
        verdict=tuple(dataclasses.replace(v, what=EVIL, baseline=EVIL, words=EVIL) for v in base.verdict),
        volatility=tuple(dataclasses.replace(v, baseline_name=EVIL, horizon=EVIL) for v in base.volatility),
        skill=tuple(
            dataclasses.replace(
                p, title=EVIL, reference=EVIL, points=tuple(dataclasses.replace(q, model=EVIL, horizon=EVIL) for q in p.points)
            )
            for p in base.skill
        ),
        calibration=tuple(dataclasses.replace(c, horizon=EVIL, rolling_window=EVIL) for c in base.calibration),
        learning=tuple(dataclasses.replace(c, name=EVIL, stop_reason=EVIL) for c in base.learning),
        features=tuple(dataclasses.replace(f, name=EVIL, formula=EVIL) for f in base.features),
        feature_scores=tuple(dataclasses.replace(s, name=EVIL, target=EVIL) for s in base.feature_scores),
        limits=(EVIL,),
        results=tuple(dataclasses.replace(r, model=EVIL) for r in base.results),
        metric_columns=tuple(dataclasses.replace(c, title=EVIL, explanation=EVIL) for c in base.metric_columns),
        config_toml=EVIL,
        versions={EVIL: EVIL},
        commands=(EVIL,),
    )
    seen, clean = Reader(page.render(evil)), Reader(page.render(named("BTC")))
    assert {tag for tag, _ in seen.tags} <= {tag for tag, _ in clean.tags}
    assert not any("onerror" in a for _, a in seen.tags)
    assert all(str(a["href"]).startswith("#") for tag, a in seen.tags if tag == "a")
    assert not any("alert(" in s for s, (_, a) in zip(seen.scripts, [t for t in seen.tags if t[0] == "script"], strict=True) if not a)
    for text in (s for spec in seen.specs for s in strings(spec)):
        assert not re.search(r"<(?!/?b>|br>|extra>|/extra>)", text), text


def test_data_of_a_figure_cannot_end_its_script() -> None:
    spec = {"data": [{"name": "</script><img>&<!--"}], "layout": {"height": 1}}
    seen = Reader(markup.figure("k", spec, "t", "c"))
    assert [tag for tag, _ in seen.tags] == ["figure", "h3", "div", "script", "figcaption"]
    assert seen.specs == [spec]


@pytest.mark.parametrize(
    ("left_out", "section"),
    [
        ("candles", "fan"),
        ("closes", "closes"),
        ("volatility", "volatility"),
        ("skill", "skill"),
        ("calibration", "calibration"),
        ("learning", "learning"),
        ("results", "results"),
    ],
)
def test_a_part_left_out_leaves_no_empty_section(full_inputs: ReportInputs, left_out: str, section: str) -> None:
    assert section in page.section_keys(full_inputs)
    assert section not in page.section_keys(dataclasses.replace(full_inputs, **{left_out: ()}))


def test_a_run_without_evaluation_still_has_a_page_that_says_so() -> None:
    run = RunFacts(("BTC/USDT",), ("1h",), (), "arms", "none", 1, 0, "0.1.0")
    text = page.render(ReportInputs(run))
    assert "was not evaluated" in text
    assert page.section_keys(ReportInputs(run)) == ("verdict", "limits")


def test_values_that_are_not_finite_become_null_and_degenerate_series_are_drawn(full_inputs: ReportInputs) -> None:
    time = np.arange(5, dtype=np.int64) * 3_600_000
    bad, flat = np.full(5, np.nan), np.full(5, 7.0)
    inputs = dataclasses.replace(
        full_inputs,
        volatility=(VolatilityView("A", "1h", time, bad, bad, bad, "x"), VolatilityView("B", "1h", time, bad, np.full(5, np.inf))),
        closes=(CloseView("A", "1h", time, flat, bad, flat), CloseView("B", "1h", time, flat, flat, flat)),
        candles=(dataclasses.replace(full_inputs.candles[0], fans=()),),
    )
    assert len(Reader(page.render(inputs)).specs) > 10  # parsed without NaN or Infinity


def test_columns_of_different_lengths_are_refused_with_their_lengths() -> None:
    with pytest.raises(DataError, match="2 months and 1 coverages"):
        SymbolQuality("BTC", "1h", 1, 0, 0, 0, 0, ("2023-01", "2023-02"), np.ones(1))
    with pytest.raises(DataError, match=r"closes of BTC 1h .*'actual_close': 4"):
        CloseView("BTC", "1h", np.zeros(5, np.int64), np.zeros(5), np.zeros(4), np.zeros(5))


def test_the_simulated_market_is_announced_and_a_real_one_is_not(full_inputs: ReportInputs, simulated_inputs: ReportInputs) -> None:
    simulated, real = page.render(simulated_inputs), page.render(full_inputs)
    for sign in ('class="banner"', "Simulated market.", ">SIMULATED<"):
        assert sign in simulated
        assert sign not in real
    assert "oracle, which knows" in simulated
    assert "oracle, which knows" not in real


def test_the_report_is_small_and_the_same_bytes_each_time(full_inputs: ReportInputs, tmp_path: Path) -> None:
    for name in ("a.html", "deep/er/b.html"):
        page.write_report(full_inputs, tmp_path / name)
    first = (tmp_path / "a.html").read_bytes()
    assert first == (tmp_path / "deep/er/b.html").read_bytes()
    assert len(first) < 6_000_000
    assert first.count(b"plotly.js v") == 1


def test_six_symbols_at_three_horizons_stay_as_small(full_inputs: ReportInputs) -> None:
    names = [f"S{i}/USDT" for i in range(6)]
    many = dataclasses.replace(
        full_inputs,
        closes=tuple(dataclasses.replace(v, symbol=s) for s in names for v in full_inputs.closes),
        volatility=tuple(dataclasses.replace(v, symbol=s) for s in names for v in full_inputs.volatility),
        candles=tuple(dataclasses.replace(v, symbol=s) for s in names for v in full_inputs.candles),
    )
    assert len(page.render(many).encode()) < 6_000_000


def test_a_report_that_cannot_be_written_leaves_nothing_behind(full_inputs: ReportInputs, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        page.write_report(full_inputs, tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_one_section_can_be_written_alone_and_an_unknown_one_is_refused(full_inputs: ReportInputs, tmp_path: Path) -> None:
    page.write_section(full_inputs, "skill", tmp_path / "skill.html")
    alone = Reader((tmp_path / "skill.html").read_text("utf-8"))
    assert [a["id"] for tag, a in alone.tags if tag == "section"] == ["skill"]
    assert not any(tag == "nav" for tag, _ in alone.tags)
    with pytest.raises(UsageError, match="no section 'skil': choose one of verdict, fan"):
        page.write_section(full_inputs, "skil", tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_importing_the_room_loads_neither_plotly_nor_heavy_libraries() -> None:
    code = "import sys, candelabra.report; print([m for m in ('plotly', 'torch', 'pandas', 'pyarrow', 'lightgbm') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def dump(html: Path, scheme: str, profile: Path) -> tuple[Reader, str]:
    """The page as a browser leaves it, and what it logged."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium or chrome on the path")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--virtual-time-budget=9000"]
    flags += ["--window-size=1400,2000", f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", "--enable-logging=stderr"]
    run = subprocess.run([browser, *flags, "--dump-dom", html.as_uri()], capture_output=True, text=True, timeout=120)
    return Reader(run.stdout), run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_every_figure_offline(simulated_inputs: ReportInputs, tmp_path: Path, scheme: str) -> None:
    page.write_report(simulated_inputs, tmp_path / "report.html")
    seen, log = dump(tmp_path / "report.html", scheme, tmp_path / "profile")
    assert ("html", "yes") in [(tag, a.get("data-drawn")) for tag, a in seen.tags]
    shown = [a for tag, a in seen.tags if tag == "div" and "js-plotly-plot" in (a.get("class") or "")]
    waiting = [a for tag, a in seen.tags if tag == "div" and a.get("class") == "plot"]
    assert len(shown) >= 12
    assert len(waiting) == 4  # two horizons of the closes not chosen, two figures each
    ours = "rgb(111, 177, 255)" if scheme == "dark" else "rgb(10, 91, 196)"
    assert any(ours in (a.get("style") or "") for _, a in seen.tags)
    assert not re.search(r"Refused|Content Security Policy|Uncaught", log)


@pytest.mark.slow
def test_a_press_shows_another_horizon_and_sorts_the_results(simulated_inputs: ReportInputs, tmp_path: Path) -> None:
    press = """<script>
      document.querySelector('[data-shows="close-choice-1"]').click();
      const heads = document.querySelectorAll('#results th button'); heads[3].click();
      const column = [...document.querySelectorAll('#results tbody tr')].map((r) => Number(r.cells[3].dataset.sort));
      document.body.dataset.falling = String(column.every((v, i) => i === 0 || column[i - 1] >= v) && column.length > 5);
      heads[0].click();
      const names = [...document.querySelectorAll('#results tbody tr')].map((r) => r.cells[0].textContent);
      document.body.dataset.named = String(names.every((v, i) => i === 0 || names[i - 1].localeCompare(v, 'en', { numeric: true }) <= 0));
    </script></body>"""
    (tmp_path / "report.html").write_text(page.render(simulated_inputs).replace("</body></html>", press + "</html>"), "utf-8")
    seen, _ = dump(tmp_path / "report.html", "light", tmp_path / "profile")
    body = next(a for tag, a in seen.tags if tag == "body")
    assert (body["data-falling"], body["data-named"]) == ("true", "true")
    panes = {a["id"]: "hidden" in a for tag, a in seen.tags if tag == "div" and a.get("class") == "pane"}
    assert panes == {"close-choice-0": True, "close-choice-1": False, "close-choice-2": True}
    drawn = {a["id"] for tag, a in seen.tags if tag == "div" and "js-plotly-plot" in (a.get("class") or "")}
    assert {"levels-1", "returns-1"} <= drawn

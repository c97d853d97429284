"""Importer fuzz: damaged files of every form, by hypothesis and by atheris; what counts is that nothing is found.

``python -m bench.fuzz_import atheris SECONDS`` is the process that atheris needs for itself.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from bench.item import Absent, Goal, Item, Reading, Tool

_EXAMPLES, _SECONDS = 2_000, 60
_ROOT = Path(__file__).resolve().parents[1]


def _files() -> dict[str, tuple[str, bytes]]:
    from candelabra.candles import simulate
    from candelabra.testing import FORM_EXAMPLES, written

    candles = simulate("BTC/USDT", "1h", bars=40, seed=3).candles
    return {form: written(form, candles) for form in FORM_EXAMPLES}


def _tried(form: str, name: str, content: bytes, *, stored: bool, most: float) -> str:
    """Import for show (and for good); a finding is any exception but ours, or a row that is lost."""
    from candelabra.testing import check_import

    symbol = None if form in ("wide", "kaggle") else "BTC/USDT"
    return check_import(name, content, stored=stored, symbol=symbol, timeframe="1h" if "trades" in form else None, most_rejected=most)


def _hypothesis(small: bool) -> dict[str, Reading]:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from candelabra.testing.accidents import mutated

    files = _files()
    ends: dict[str, int] = {}
    examples = 100 if small else _EXAMPLES

    @given(form=st.sampled_from(list(files)), random=st.randoms(use_true_random=False), most=st.sampled_from([0.01, 1.0]))
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None, database=None, report_multiple_bugs=True)
    def damaged(form: str, random: Random, most: float) -> None:
        name, content = files[form]
        end = _tried(form, name, mutated(content, random), stored=random.random() < 0.1, most=most)
        ends[end] = ends.get(end, 0) + 1

    found = 0
    said = ""
    try:
        damaged()
    except BaseExceptionGroup as group:
        found, said = len(group.exceptions), f"; {group.exceptions[0]!r}"[:200]
    except Exception as error:
        found, said = 1, f"; {error!r}"[:200]
    note = ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
    return {"": Reading(found, "findings", note=f"{examples:,} examples over {len(files)} forms: {note}{said}")}


def _atheris(small: bool) -> dict[str, Reading]:
    if importlib.util.find_spec("atheris") is None:
        raise Absent("atheris not installed: pip install -r bench/rivals/atheris/requirements.txt (Python 3.11 or 3.12, Linux)")
    seconds = 5 if small else _SECONDS
    command = [sys.executable, "-m", "bench.fuzz_import", "atheris", str(seconds)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder], cwd=_ROOT, env=os.environ | {"TMPDIR": folder}, capture_output=True, text=True, timeout=seconds * 5 + 120
        )
    runs = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    found = 0 if done.returncode == 0 and runs else 1
    said = f"{int(runs[1]):,} files in {seconds} s" if runs else "it did not run to its end"
    said += f", {edges[-1]} branches of the importers reached" if edges else ""
    _, _, crash = done.stderr.partition("Uncaught Python exception")
    lines = [line.strip() for line in (crash or done.stderr[-2000:]).splitlines() if line.strip()]
    note = said if not found else f"{said}; {' / '.join(lines[:30])}"[:1500]
    return {"": Reading(found, "findings", note=note)}


def _fuzz(seconds: float, corpus: str) -> None:
    """Atheris in this process: the first byte chooses the form, the rest is the file; it mutates whole files of every form."""
    import atheris

    # What numba compiles must be imported before anything is instrumented.
    import candelabra.candles.information
    import candelabra.testing

    for name in [name for name in sys.modules if name.startswith("candelabra.sources")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["candelabra.sources"]):
        import candelabra.sources.importing
        import candelabra.sources.store  # noqa: F401
    from candelabra.testing.accidents import mutated

    files = _files()
    forms = list(files)
    seeds = Path(corpus) / "corpus"
    seeds.mkdir()
    for number, (_, content) in enumerate(files.values()):
        (seeds / str(number)).write_bytes(bytes([number]) + content)

    def one(data: bytes) -> None:
        if data:
            form = forms[data[0] % len(forms)]
            _tried(form, files[form][0], data[1:], stored=False, most=1.0 if len(data) % 2 else 0.01)

    def changed(data: bytes, most: int, seed: int) -> bytes:
        # Half of the accidents are ours, which know what files are made of; half are blind.
        if seed % 2 or not data:
            return bytes(atheris.Mutate(data, most))
        return (data[:1] + mutated(data[1:], Random(seed)))[:most]

    options = [f"-max_total_time={seconds:g}", "-print_final_stats=1", "-max_len=20000", "-rss_limit_mb=3000", "-timeout=20", str(seeds)]
    options.append(f"-artifact_prefix={corpus}/")
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=changed)
    atheris.Fuzz()


def _clean(tool: str) -> Goal:
    def findings(values: Any) -> float:
        return float(values[tool][""])

    return Goal(tool, "", findings, "<= 0")


FUZZ = Item(
    "trust/import-fuzz",
    "damaged files of every form into the importers: exceptions that are not ours, and rows lost silently",
    {"hypothesis": Tool(_hypothesis, ("hypothesis",)), "atheris": Tool(_atheris)},
    (_clean("hypothesis"), _clean("atheris")),
    rounds=1,
    in_small=False,
)

ITEMS = (FUZZ,)

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "atheris":
        sys.exit("python -m bench.fuzz_import atheris SECONDS FOLDER")
    _fuzz(float(sys.argv[2]), sys.argv[3])

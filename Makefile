# Two commands to know: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install -c constraints.txt

.PHONY: help demo test check lint types unit storms bench wheel clean

help:
	@echo "make demo    install and run the main job on a simulated market (no network, a few minutes)"
	@echo "make test    install and run every check and test"
	@echo "make check   the quick part: lint, types, architecture, unit tests"
	@echo "make storms  the fault tests with many seeds and thousands of faults (an hour or more)"
	@echo "make bench   measure (long); python -m bench run --small takes a minute"
	@echo "make wheel   build the wheel into dist/"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"candelabra needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@echo "installing (a few minutes the first time) ..."

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[baselines,exchanges]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/candelabra demo $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy src

unit: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

check: lint types unit

test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

storms: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 CANDELABRA_STORMS=full HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -q -n 2 tests/sources tests/serving tests/live tests/testing

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench run --out results.jsonl
	$(BIN)/python -m bench check results.jsonl

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

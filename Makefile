# Everything happens in .venv; only Python 3.11 or later and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test unit-test int-test e2e-test simulate lint coverage bench clean

run: $(VENV)/.installed
	$(BIN)/sharechat serve

test: $(VENV)/.installed-test
	$(BIN)/pytest

unit-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/unit

int-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/integration

simulate: $(VENV)/.installed-test
	$(BIN)/python -m tests.simulation $(SIMULATE)

e2e-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/e2e

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(VENV)/.installed-test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/unit tests/simulation tests/integration tests/web
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include 'sharechat/actors/*' --fail-under 100

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sharechat needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	touch $@

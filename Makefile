# Everything happens in .venv; only Python 3.11 to 3.14 and make are needed. Another
# interpreter gets an environment of its own:
#     make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Images often set it; but the tests start hundreds of processes, and each would compile all modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-all unit-test int-test e2e-test browser-test hostile autobahn simulate simulate-breaks \
	lint types coverage bench bench-readme bench-scale screenshots api-docs measure-page lock clean

run: $(VENV)/.installed
	$(BIN)/sharechat serve

# In several processes, since a test waits for others about half of its time.
test: $(VENV)/.installed-test
	$(BIN)/pytest --numprocesses 4 --dist worksteal

# All tests on every Python that is there, each in an environment of its own.
test-all: $(VENV)/.installed-test
	@for version in 3.11 3.12 3.13 3.14; do \
		if python=$$($(BIN)/uv python find --no-python-downloads --system $$version 2>/dev/null); \
		then \
			echo "Python $$version: $$python"; \
			$(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$version || exit; \
		else \
			echo "There is no Python $$version here."; \
		fi; \
	done

unit-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/unit

int-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/integration

simulate: $(VENV)/.installed-test
	$(BIN)/python -m tests.simulation $(SIMULATE)

simulate-breaks: $(VENV)/.installed-test
	$(BIN)/python -m tests.simulation --breaks $(SIMULATE)

# Attacks that take longer than a test may; full_disk.py besides, which needs root.
hostile: $(VENV)/.installed-test
	$(BIN)/python -m tests.hostile.connections
	$(BIN)/python -m tests.hostile.readers
	$(BIN)/python -m tests.hostile.floods
	$(BIN)/python -m tests.hostile.kills

# The Autobahn suite, some ten minutes; it writes docs/autobahn.md. It needs Python 2.7:
#     make autobahn AUTOBAHN_PYTHON=/opt/python2.7/bin/python
# and does nothing without it. `make autobahn AUTOBAHN='6.*'` runs a part, and writes nothing.
autobahn: $(VENV)/.installed-test
	AUTOBAHN_PYTHON='$(AUTOBAHN_PYTHON)' $(BIN)/python -m tests.autobahn $(AUTOBAHN)

e2e-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/e2e

browser-test: $(VENV)/.installed-test
	$(BIN)/pytest tests/browser

# The pictures of the page in docs/, for the README. They need Chromium.
screenshots: $(VENV)/.installed-test
	$(BIN)/python -m tests.browser.screenshots

# docs/api.md, from the same source as /api/openapi.json.
api-docs: $(VENV)/.installed-test
	$(BIN)/python -m tests.harness.api_docs

measure-page: $(VENV)/.installed-test
	$(BIN)/python -m tests.browser.measure

# With what the benchmarks need, since mypy checks them against the types of their libraries.
lint: $(VENV)/.installed-bench
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(MAKE) --no-print-directory types

# The types of the page's JavaScript, which only node can check. It is needed for nothing else.
TYPES = npx --yes --package typescript@5.9.3 tsc

types:
	@if $(TYPES) --version >/dev/null 2>&1; then $(TYPES) --project sharechat/web/jsconfig.json; \
	else echo "The types of the page's JavaScript are not checked: npx has no TypeScript here."; fi

coverage: $(VENV)/.installed-test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests/unit tests/simulation tests/integration tests/web
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage report --include 'sharechat/actors/*' --fail-under 100

# With npm also against Node's usual websocket server and Bun's.
bench: $(VENV)/.installed-bench
	@if command -v npm >/dev/null; then npm ci --silent --prefix benchmarks/rivals || \
		echo "npm cannot install Node's ws and Bun here."; fi
	$(BIN)/python -m benchmarks $(BENCH)

# The README's tables and plots, from one run, which takes an hour and wants a quiet machine.
bench-readme: bench
	$(BIN)/python -m benchmarks.tables

# Twenty thousand members for ten minutes, ten thousand that come back, ten thousand in one room:
# half an hour. `make bench-scale SCALE="--scale 0.1"` takes a tenth of the members and of the time.
bench-scale: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.scale $(SCALE)

# `make lock` keeps the versions that still fit pyproject.toml; `make lock LOCK=--upgrade` takes
# newer ones, but none of the last two weeks, in which a bad release is usually withdrawn.
# What is served decides, and the tools follow it.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--exclude-newer '2 weeks' --custom-compile-command 'make lock' $(LOCK) pyproject.toml

lock: $(VENV)/.installed-test
	$(COMPILE) --output-file requirements/runtime.txt
	$(COMPILE) --output-file requirements/test.txt --extra test -c requirements/runtime.txt
	$(COMPILE) --output-file requirements/bench.txt --extra bench -c requirements/test.txt

clean:
	rm -rf .venv .venv-* build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "sharechat needs Python 3.11 to 3.14")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.installed-test: requirements/test.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.installed-bench: requirements/bench.txt | $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --require-hashes -r $<
	touch $@

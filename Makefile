# make run        the patterns, then the run history with its report, in ./data and ./reports;
#                 RUNNER=processes, dask or ray takes its tasks to other processes
# make test       what must hold before each commit: style, types, layers, tests
# make test-all   the same, with every test on every runner, and with coverage in all processes
# make bench      the figures behind the claims of speed; make bench-quick some of them, in two minutes
# make docs       the site of the documentation, in build/docs
# make dist       the distribution, in ./dist; make dist-test runs the tests of its source with its wheel
# make test-versions   the oldest and newest Prefect, dependency-injector and Python; writes docs/versions.md
# make clean      removes the environment and everything the commands above wrote
#
# Each command stands alone on a fresh clone: it makes .venv when that is missing (with uv where there is one,
# else with venv and pip), installs what it needs, and does its job.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Asked for by name first: `python3` alone is often the system's, and older. A shim that cannot start counts as missing.
PYTHON ?= $(shell for candidate in python3.11 python3.12 python3.13 python3; do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	echo "$$candidate"; break; fi; done)

# Where the tasks of the run history run: thread, processes, dask, ray.
RUNNER ?= thread

# A demo that is self-contained: its Prefect database and Matplotlib's list of fonts live beside its
# data, never in the user's own folders.
# The first start of Prefect's embedded server migrates an empty database, which takes longer than its default patience.
DEMO := PREFECT_HOME="$${PREFECT_HOME:-$(CURDIR)/data/prefect}" \
	MPLCONFIGDIR="$${MPLCONFIGDIR:-$(CURDIR)/data/matplotlib}" \
	PREFECT_SERVER_ANALYTICS_ENABLED=false \
	PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120

.PHONY: help run test test-all lint types types-all layers pytest pytest-all dist dist-test test-versions bench bench-quick docs format clean

help:
	@sed -n 's/^# //p' Makefile | head -9

run: $(VENV)/.installed-app $(if $(filter dask ray,$(RUNNER)),$(VENV)/.installed-runners)
	@export $(DEMO)
	mkdir -p "$$PREFECT_HOME"   # Prefect makes its home, but not the folder above it
	$(BIN)/python -m flows --runner "$(RUNNER)"

test: lint types layers pytest

test-all: lint types-all layers pytest-all

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Then how much of what is public has a known type, which is all of it: pyright asks the `python` of the path for that.
types: $(VENV)/.installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes prefect_lifespan --ignoreexternal | grep -E " error: |Inferred|score"
	$(BIN)/ty check --python $(VENV) src

# mypy takes longer than both where it has no cache.
types-all: types
	$(BIN)/mypy --python-executable $(BIN)/python

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# Groups of tests are given out in the order of tests/conftest.py, what takes longest first; four of them share two cores,
# as each waits now and then. Tests start hundreds of processes: where an environment forbids bytecode, each of them would
# compile the library anew.
PYTEST_OPTIONS := --numprocesses=4 --dist=loadgroup --no-loadscope-reorder
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest $(PYTEST_OPTIONS)

pytest: $(VENV)/.installed-dev
	$(PYTEST) -m "not extended"

pytest-all: $(VENV)/.installed-dev
	$(PYTEST) --cov --cov-report=term

dist: $(VENV)/.installed-dev $(VENV)/.installed-dist
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/twine check --strict dist/*

# In an environment of its own, from the source that would be uploaded and the wheel that is made of it.
# DIST_TESTS=tests/engine runs less.
DIST_TESTS ?= tests
dist-test: dist
	@folder="$$(mktemp -d)"
	trap 'rm -rf "$$folder"' EXIT
	tar -xzf dist/*.tar.gz -C "$$folder" --strip-components=1
	cd "$$folder"
	$(abspath $(BIN))/python -m hatchling build -t wheel -d dist
	$(abspath $(BIN))/python -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/bin/python -m pip install --quiet dist/*.whl --group dev
	.venv/bin/python -c 'import prefect_lifespan as p; assert "site-packages" in p.__file__, p.__file__; print(p.__file__)'
	PYTHONDONTWRITEBYTECODE= .venv/bin/pytest $(PYTEST_OPTIONS) -m "not extended" $(DIST_TESTS)

# ROWS="oldest newest" runs these rows of noxfile.py.
test-versions: $(VENV)/.installed-versions
	$(BIN)/nox $(if $(ROWS),--session $(ROWS))

# WRITE=figures.txt keeps what is printed.
bench: $(VENV)/.installed-bench $(VENV)/.installed-test $(VENV)/.installed-runners
	@$(BIN)/python -m benchmarks $(if $(WRITE),--write "$(WRITE)")

# In two minutes, on an idle machine: instructions where valgrind is there, times, opening and closing, growth.
bench-quick: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.instructions --quick
	$(BIN)/python -m benchmarks.injected_call --rounds 15 --only "1 x"
	$(BIN)/python -m benchmarks.open_close --sizes 10 100 --repeats 3 --stock-seconds 2
	$(BIN)/python -m benchmarks.growth --lifespans 500 --flow-runs 0

docs: $(VENV)/.installed-docs
	@$(BIN)/sphinx-build -n -W -E --keep-going -q docs build/docs
	echo "The site stands in build/docs/index.html"

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .nox data reports build dist .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then
	  echo "No Python 3.11 or newer was found (looked for python3.11, python3.12, python3.13, python3)." >&2
	  echo "Install one, or say which: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2
	  exit 1
	fi
	if command -v uv >/dev/null 2>&1; then
	  uv venv --quiet --python "$(PYTHON)" $(VENV)
	elif ! "$(PYTHON)" -m venv $(VENV); then
	  rm -rf $(VENV)
	  echo "$(PYTHON) could not make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)." >&2
	  exit 1
	fi

# One stamp for each group, renewed when pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	@if command -v uv >/dev/null 2>&1; then
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable . --group $*
	else
	  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	  $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'   # the first that knows --group
	  $(BIN)/python -m pip install --quiet --editable . --group $*
	fi
	touch $@

# Everything sets itself up: Python 3.11 or newer and make are all that a machine needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long lint bench bench-decode train-small-world clean

help:  ## Say what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

install: $(VENV)/.dev  ## Install everything for development into .venv.

demo: $(VENV)/.demo  ## Run a real classifier on a real video and show what it saw.
	$(BIN)/python -m deployments.demo

test: $(VENV)/.dev  ## Run the tests that take minutes at most.
	$(BIN)/python -m pytest -m "not long" --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

test-long: $(VENV)/.dev  ## Run the tests that take longer.
	$(BIN)/python -m pytest -m long --timeout 1800 $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## Check style, formatting and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench  ## Measure whole jobs against their parts and against others (an hour on two cores; BENCH_ARGS chooses).
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

bench-decode: $(VENV)/.bench  ## Measure decoding against other readers (an hour on two cores; BENCH_ARGS chooses parts of it).
	$(BIN)/python -m tests.benchmarks.decode_bench $(BENCH_ARGS)

train-small-world: $(VENV)/.dev  ## Train the tests' tiny models from scratch, over their weights (hours on one core).
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.smallworld train

clean:  ## Remove the environment and what demo and benchmark wrote.
	rm -rf $(VENV) demo-out bench-out

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("reelmill needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[dev,demo]'
	touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[dev,demo,bench]'
	touch $@ $(VENV)/.dev $(VENV)/.demo

# Everything starts from a fresh Debian with Python 3.11 and root; each target sets up what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OWN_LOG = $(VENV)/own-half.log
INSIDE = $(BIN)/python -m tests.testbed.enter --

.PHONY: help demo test own-half bed-half lint check cluster cluster-down bench proto lock clean setup

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

$(STAMP): .ci/requirements-dev.lock pyproject.toml
	@.ci/venv $(PYTHON) $(VENV)
	@touch $@

setup: $(STAMP)
	@$(BIN)/python -m tests.testbed.setup
	@$(BIN)/python -m tests.testbed.programs
	@$(BIN)/python -m tests.testbed.imaging

demo: $(STAMP)  ## Pull real images into a private containerd and show it (KEEP=1 leaves it running)
	@$(BIN)/python -m tests.testbed.setup --for demo
	@$(BIN)/python -m tests.testbed.demo

lint: $(STAMP)
	$(BIN)/ruff format --check daemon tests
	$(BIN)/ruff check daemon tests
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m protos.check

check: lint  ## Format, lint, types, import contracts, unit tests: the fast half
	$(BIN)/pytest -q tests/unit
	$(BIN)/pytest -q tests/charts -m "not integration"

test: lint setup  ## All tests, real runtimes, registry and browser included
	@$(MAKE) --no-print-directory --jobs=2 bed-half own-half

# Waits for kubelets and containers most of the time, and measures some of it: the other half makes way for it.
bed-half: $(STAMP)
	$(INSIDE) $(BIN)/pytest -q tests/conformance tests/charts tests/integration tests/e2e

own-half: $(STAMP)
	@$(BIN)/coverage erase
	@echo "meanwhile: unit, functional and conformance tests, whose result follows"
	@nice $(BIN)/coverage run -m pytest -q tests/unit tests/functional tests/conformance -m "not integration" \
		>$(OWN_LOG) 2>&1 || { cat $(OWN_LOG); exit 1; }
	@echo; tail -n 1 $(OWN_LOG)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --skip-covered --sort=cover

cluster: $(STAMP) setup  ## A real Kubernetes with the project in it, to try things on; says how
	@$(BIN)/python -m tests.testbed.local up

cluster-down:  ## End it
	@test ! -x $(BIN)/python || $(BIN)/python -m tests.testbed.local down

bench: $(STAMP) setup  ## Ratios against bare CRI calls, memory, as pods, restarts, many nodes (LONG=1: 200 jobs on 1,000 nodes)
	@$(BIN)/python -m tests.bench.caching
	@$(INSIDE) $(BIN)/python -m tests.bench
	@$(INSIDE) $(BIN)/python -m tests.bench.cluster_pods
	@$(INSIDE) $(BIN)/python -m tests.bench.restarts
	@$(INSIDE) $(BIN)/python -m tests.bench.controller_scale $(if $(LONG),--long)

proto: $(STAMP)  ## Generate the gRPC code from protos/
	protos/generate.sh

lock: $(STAMP)  ## Resolve pyproject.toml into .ci/*.lock, with hashes
	.ci/lock

clean:  ## Remove what was built here (not the cache of built runtimes)
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info
	find daemon tests -name __pycache__ -type d -prune -exec rm -rf {} +

# These targets need only Python 3.11 to 3.13, git and make; everything else is installed into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# Number of parallel test processes, each of which needs up to 2 GiB of memory.
JOBS ?= $(shell nproc 2> /dev/null || sysctl -n hw.logicalcpu)
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)

HOURS ?= 0
SEED ?= 0

.PHONY: help install repro test test-all mutation faults check lock sbom audit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Install the locked dependencies and the project into .venv

# uv installs the locked packages in a minute or two, much faster than pip. --compile-bytecode: by default uv does not
# compile, and every start would be slow where PYTHONDONTWRITEBYTECODE keeps Python from caching bytecode.
$(VENV)/.installed: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, {v[0]}.{v[1]} was found: name another with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock --compile-bytecode
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q src
	@touch $@

repro: install ## Run the whole pipeline, or what of it is out of date
	sightline run

test: check ## Check style, types and dependencies, and run all tests but the slowest
	pytest -n $(JOBS) --dist worksteal

test-all: check ## The same, and the slowest: whole pipelines several times over, each setting through real runs of its stage
	pytest --full -n $(JOBS) --dist worksteal

mutation: install ## Try small faults in the modules that decide results unseen: which do the tests notice?
	python benchmarks/mutation.py --jobs $(JOBS)

faults: install ## Disturb the stages (failing calls, kills, flipped bits) for HOURS from SEED on; needs a C compiler
	python -m tests.faults calls kills flips --seed $(SEED) --hours $(HOURS)

check: install ## Check style, types and declared dependencies only
	ruff check
	ruff format --check
	mypy
	deptry src pipeline

lock: ## Resolve the dependencies anew, to releases at least 14 days old
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --exclude-newer $$($(PYTHON) -c 'import datetime as d; print(d.date.today() - d.timedelta(days=14))') \
	  --upgrade --quiet --output-file requirements.lock

# uv downloads both tools into its own cache for a single call; .venv needs to contain only uv.
UV := $(VENV)/bin/uv
$(UV): requirements-uv.lock
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

sbom: $(UV) ## List the locked packages as CycloneDX JSON: sbom.json
	$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock --output-format JSON --output-file sbom.json

audit: $(UV) ## Ask the advisory database about each locked package
	$(BIN)/uv tool run --quiet pip-audit==2.10.1 --requirement requirements.lock --disable-pip --require-hashes

clean: ## Remove .venv and caches (data, models and runs stay)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# One command a purpose. `make demo` and `make test` do all the set-up; asked again, they do only what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: bench-corpus bench-training help setup demo test check up bench bench-sources soak lock

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

setup: $(READY) ## Install Forge and all that it needs into .venv

demo: $(READY) ## Let a bank adapt an open model to its own knowledge, and show what came of it
	@$(BIN)/forge demo

test: $(READY) ## Run the tests, one of each fault, two files at a time
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: $(READY) ## Run the repeated faults, and print the table
	@FORGE_SOAK=1 $(BIN)/python -m pytest -s -k two_publishers tests/pipelines/test_store.py
	@FORGE_SOAK=1 $(BIN)/python -m pytest -s tests/end_to_end/test_kill_matrix.py tests/end_to_end/test_postgres_outage.py
	@FORGE_SOAK=1 $(BIN)/python -m pytest -s -k killed tests/pipelines/sources/test_incremental_reading.py tests/pipelines/sources/test_source_stage.py
	@FORGE_SOAK=1 $(BIN)/python -m pytest -s -k 'any_moment or anywhere' tests/pipelines/corpus/test_corpus_faults.py tests/pipelines/corpus/test_corpus_memory_faults.py
	@FORGE_SOAK=1 $(BIN)/python -m pytest -s -o timeout=0 tests/pipelines/training/test_killed_trainings.py tests/pipelines/training/test_damaged_files.py tests/pipelines/training/test_other_ranks.py

check: $(READY) ## Lint, types, architecture, YAML, lock
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/dg check yaml
	@$(BIN)/dg check toml
	@$(BIN)/python -m pytest -q tests/test_architecture.py
	@$(BIN)/python infra/check_lock.py

up: $(READY) ## Start PostgreSQL, MLflow, the daemon and the web UI
	@$(BIN)/forge up

bench: $(READY) ## Measure what the README quotes
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file; done

bench-sources: $(READY) ## Measure how fast sources are read, and in how much memory
	@$(BIN)/python benchmarks/sources.py

bench-corpus: $(READY) ## Measure what becomes of a corpus: near-copies against datatrove, personal data, what is planted
	@$(BIN)/python benchmarks/corpus.py
	@$(BIN)/python benchmarks/near_duplicates.py
	@$(BIN)/python benchmarks/personal_data.py
	@$(BIN)/python benchmarks/planted_corpus.py

bench-training: $(READY) ## Measure training beside a bare loop and transformers' Trainer, and what a checkpoint costs
	@$(BIN)/python benchmarks/training.py

lock: ## Resolve pyproject.toml into requirements.lock anew
	@test -x $(BIN)/pip-compile || $(MAKE) setup
	@$(BIN)/pip-compile -q --no-emit-options --no-header --unsafe-package torch --all-extras -o requirements.lock pyproject.toml

# torch comes first and is not in the lock: with an NVIDIA driver PyPI's build, otherwise the CPU build from pip's own
# sources if they have it, else from PyTorch's public index.
TORCH := 2.13.0

$(READY): requirements.lock pyproject.toml Makefile
	@test -n "$(PYTHON)" || { echo "forge: no python3 is on PATH; install Python 3.11 with its venv module" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "forge: Forge needs Python 3.11 and $(PYTHON) is $$($(PYTHON) -V 2>&1); install it and run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || { \
	  echo "forge: no C++ compiler is on PATH and DeepSpeed builds its GPU operations with one; install g++ (Debian: apt install g++)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing torch $(TORCH)"
	@if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then \
	  $(BIN)/pip install -q torch==$(TORCH); \
	else \
	  $(BIN)/pip install -q torch==$(TORCH)+cpu 2>/dev/null || \
	  $(BIN)/pip install -q torch==$(TORCH)+cpu --index-url https://download.pytorch.org/whl/cpu; \
	fi
	@echo "installing what requirements.lock names"
	@$(BIN)/pip install -q --no-deps -r requirements.lock
	@$(BIN)/pip install -q --no-deps -e .
	@$(BIN)/pip check
	@touch $@

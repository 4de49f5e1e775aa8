# The one-line commands of this repository; `make help` lists them. Needed: python3.11 or later with pip and venv.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --use-pep517
SOURCES := asyncflow tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test check format static bench smoke soak clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.developing: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed ## install asyncflow and run its demonstration
	$(BIN)/asyncflow demo

test: $(VENV)/.developing ## run the tests
	$(BIN)/python -m pytest -n auto

static: $(VENV)/.developing ## check format, lint, types and imports
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

check: static test ## check format, lint, types, imports and tests, in this order

format: $(VENV)/.developing ## format the code and order its imports
	$(BIN)/ruff check -q --select I --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(VENV)/.developing ## measure every figure against its floor (`make bench LINES="fan-out sequential"` for some)
	$(BIN)/python -m benchmarks $(LINES)

smoke: $(VENV)/.developing ## run every benchmark at a tiny size
	$(BIN)/python -m benchmarks --smoke

soak: $(VENV)/.developing ## run the long tests
	$(BIN)/python -m pytest -m soak

clean: ## remove everything that was made here
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

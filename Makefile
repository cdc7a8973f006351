# make demo   install, train on digits, judge, show where the run lies
# make test   the tests            make lint   style, types, import rules
# make format mend the style       make clean  remove the environment and caches
# A second call installs nothing: the stamps in .venv are older than nothing they depend on.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
SOURCES = pyproject.toml constraints.txt $(wildcard csrc/*)

.PHONY: demo test lint format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.core
	@rm -rf runs/demo
	$(BIN)/scanline train --run runs/demo
	$(BIN)/scanline evaluate runs/demo
	@echo "the run lies in runs/demo"

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Scanline needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.core

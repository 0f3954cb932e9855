# `make demo` and `make test` set everything up on a fresh machine; nothing else has to be typed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check drills docs clean

demo: $(STAMP)
	$(BIN)/vfscreen demo demo

test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not drill and not gpu"

drills: $(STAMP)
	$(BIN)/python -m pytest -q -m "drill"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar sql

docs: $(STAMP)
	$(BIN)/python -m vfscreen.cli.reference

clean:
	rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

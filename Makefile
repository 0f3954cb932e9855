# `make demo` and `make test` set everything up on a fresh machine; nothing else has to be typed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The benchmarks' baselines live in an environment of their own, on top of the other: theirs holds
# GPL decoders, and nothing of it may slip into a run.
BENCH_VENV := benchmarks/.venv
BENCH_STAMP := $(BENCH_VENV)/.installed

.PHONY: demo test check drills docs clean bench bench-quick bench-scaling bench-reports bench-training

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

# An hour on two quiet cores: the grid, its plot, and the tables of both READMEs.
bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.grid
	$(BIN)/python -m benchmarks.plots
	$(BIN)/python -m benchmarks.report --write

bench-quick: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.grid --quick

bench-scaling: $(STAMP)
	$(BIN)/python -m benchmarks.scaling

# Five minutes: the report labellers, and their tables in both READMEs. HELD_OUT=--held-out adds
# the set that nobody who writes rules looks at.
bench-reports: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks.labelling --write $(HELD_OUT)

# Some five hours on two quiet cores: which network learns most in the same time, and the shift test.
bench-training: $(STAMP)
	$(BIN)/python -m benchmarks.training_study
	$(BIN)/python -m benchmarks.training_report --write

clean:
	rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

$(BENCH_STAMP): $(STAMP) requirements-bench.txt
	$(BIN)/python -m venv --without-pip $(BENCH_VENV)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' \
		% sysconfig.get_path('purelib'))" \
		> "$$($(BENCH_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vfscreen-environment.pth"
	$(BIN)/python -m pip --python $(BENCH_VENV)/bin/python install --quiet --no-deps \
		--requirement requirements-bench.txt
	touch $(BENCH_STAMP)

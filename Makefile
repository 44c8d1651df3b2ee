# make demo: run the demonstration study.  make test: lint, types and tests.  Both build .venv when it is missing.
# The tests run in WORKERS processes of one thread each (make test WORKERS=8); the first run also compiles the kernels.
# make bench: speed against other tools (BENCH_CT=PATH for a CT of your own).  make validate: docs/physics.md and docs/virtual-cohorts.md measured anew.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= out/demo
WORKERS ?= 2

.PHONY: demo test lint types unit bench validate clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: .venv/.installed
	$(BIN)/drrval run-study studies/demo.yaml --out $(OUT) --jobs 2

test: lint types unit

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed
	$(BIN)/mypy

unit: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

bench: .venv/.installed
	$(BIN)/python -m benchmarks

validate: .venv/.installed
	$(BIN)/python -m validation

clean:
	rm -rf .venv out build *.egg-info

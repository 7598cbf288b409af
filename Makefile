# `make demo` and `make test` need Python 3.11+ and make; everything else is set up in .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check format bench docs clean

demo: $(STAMP)
	$(BIN)/pclmix demo --out demo --overwrite

# The tests use one thread each, so they share the cores between them.
test: check
	$(BIN)/python -m pytest --numprocesses auto

check: $(STAMP)
	$(BIN)/ruff check src tests benchmarks scripts examples
	$(BIN)/ruff format --check src tests benchmarks scripts examples
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix src tests benchmarks scripts examples
	$(BIN)/ruff format src tests benchmarks scripts examples

bench: $(STAMP)
	$(BIN)/python -m benchmarks --json bench.json --overwrite

docs: $(STAMP)
	$(BIN)/python -m typer pclmix.cli utils docs --name pclmix --output docs/cli.md

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

clean:
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache

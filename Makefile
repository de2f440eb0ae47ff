# Every target makes what it needs: a fresh checkout wants only Python 3.11 or newer, with pip and venv.

DEMO ?= examples/01_weather/demo.py
PYTEST_ARGS ?= -n 3
MINUTES ?= 10
SEED ?= 0

# The first Python that is new enough. Each is asked: a name on the PATH may launch a version that is absent.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

BIN := .venv/bin
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test torture bench mutants docs lint types mypy pyright pins clean

help:
	@echo 'make demo    run the demonstration, $(DEMO)'
	@echo 'make test    lint, mypy and every test'
	@echo 'make torture kill, stop, cut off and starve real processes for ten minutes, MINUTES=n for others'
	@echo 'make bench   measure the engine'
	@echo 'make mutants plant bugs in the engine, and count how soon simulations find them'
	@echo 'make docs    build the documentation into site/'
	@echo 'make lint    style and import contracts'
	@echo 'make types   mypy --strict, and pyright on the examples'
	@echo 'make pins    make constraints.txt anew from the newest versions'
	@echo 'make clean   remove everything that make made'

demo: $(INSTALLED)
	$(BIN)/python $(DEMO)

# pytest comes last and nothing after it, so that its closing line is the last line of the output.
# More processes than cores: many tests wait. CLOACA_TEST_ALL=1 tries all of what is much alike, not a part of it.
test: lint mypy
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Half of the time for each database. What is killed follows from the seed, when exactly from the machine.
torture: $(INSTALLED)
	$(BIN)/python -m tests.torture --seed $(SEED) --minutes $(MINUTES) --database both --boundaries

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

types: mypy pyright

mutants: $(INSTALLED)
	$(BIN)/python -m tests.testing

mypy: $(INSTALLED)
	$(BIN)/mypy

pyright: $(INSTALLED)
	$(BIN)/pyright

# The build backend comes first, and from the same pins, as a build in isolation would ignore them.
$(INSTALLED): pyproject.toml constraints.txt tests/typing/oldest-mypy.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'cloaca needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/oldest-mypy --requirement tests/typing/oldest-mypy.txt
	@touch $@

pins:
	rm -rf .venv-pins
	$(PYTHON) -m venv .venv-pins
	.venv-pins/bin/python -m pip install --quiet '.[dev,dask,otel,ray,ui]'
	sed '/^[^#]/d' constraints.txt > .venv-pins/pins
	.venv-pins/bin/python -m pip freeze --exclude cloaca >> .venv-pins/pins
	mv .venv-pins/pins constraints.txt
	rm -rf .venv-pins

clean:
	rm -rf .venv .venv-pins site dist build
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# make demo: move expressions between synthetic people, and say where the sheet is.
# make test: lint, type check and the fast tests, up to four at a time, with XLA's settings that
# compile soonest. make test-all: the slow ones too, with XLA's own emitters.
# make lint: lint and type check. make wheel: build wheel and sdist, and try both where nothing is.
# make test-oldest: the fast tests with the oldest dependencies, in .venv-oldest.
# make docs: the pages of docs/, with the reference from the code, into build/docs.
# Each makes its own virtual environment, .venv, the first time.

PYTHON ?= python3
BIN := .venv/bin
FAST := -m 'not slow' -n logical --maxprocesses 4 --dist loadfile

.PHONY: demo lint test test-all test-oldest wheel docs clean

.venv/core: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("glow-jax needs Python 3.11 or newer; try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[eval]'
	touch $@

.venv/docs: .venv/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs,eval]'
	touch $@

.venv/dev: .venv/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,eval,photos]'
	touch $@

demo: .venv/core
	$(BIN)/glow-jax demo

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy glow_jax transfer eval bench

test: lint
	$(BIN)/python -m pytest $(FAST)

test-all: test
	XLA_FLAGS=--xla_backend_optimization_level=0 $(BIN)/python -m pytest -m slow

wheel: .venv/dev
	$(BIN)/python -m pytest -m slow tests/test_packaging.py

.venv-oldest/done: setup.cfg pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oldest.txt --editable '.[dev,eval,photos]'
	touch $@

test-oldest: .venv-oldest/done
	.venv-oldest/bin/python -m pytest $(FAST)

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "pages: build/docs/index.html; with search: $(BIN)/python -m http.server --directory build/docs"

clean:
	rm -rf .venv .venv-oldest build *.egg-info

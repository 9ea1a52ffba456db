# Everything a person does with this tree. `make run` and `make test` need git, make and
# Python ≥ 3.11, nothing else: the first of them makes the virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help run test battery lint format lock wheel clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: $(READY) ## the whole service with sample traffic, in a folder that is thrown away
	$(BIN)/receiver demo

test: $(READY) lint ## lint, then the quick tests with coverage
	$(BIN)/coverage erase
	$(BIN)/pytest -m "not slow" --cov --cov-report=term

battery: $(READY) ## all tests, the slow ones too
	$(BIN)/pytest

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## puts the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY) ## writes requirements.lock anew, with the newest versions
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --upgrade \
	  --python-version 3.11 --no-emit-index-url --no-annotate --no-header -q -o requirements.lock

wheel: $(READY) ## dist/*.whl
	$(BIN)/python -m pip -q wheel --no-deps --no-build-isolation -w dist .

clean: ## removes the virtual environment and what tools left
	rm -rf $(VENV) dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The lock file's hashes are checked by pip itself; then this tree is linked in.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sms-receiver needs Python 3.11 or newer; choose one with make PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

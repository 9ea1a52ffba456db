# Everything a person does with this tree. `make run` and `make test` need git, make and
# Python ≥ 3.11, nothing else: whichever comes first makes the virtual environment.

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
# The first of these that is new enough; another one: make PYTHON=/path/to/python3.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
# Where `make install` puts the program; systemd/receiver.service looks for it there.
PREFIX ?= /opt/sms-receiver

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .venv-lowest
# A quick test that takes five minutes hangs.
QUICK := -o faulthandler_timeout=300
# Another Python for `make test-on`, such as 3.13 or /path/to/python3.13.
ON ?= 3.13
TESTS ?= tests
OTHER := .venv-on
PIP_INSTALL := -m pip install -q --disable-pip-version-check
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q

.DEFAULT_GOAL := help
.PHONY: help run test test-lowest test-on battery bench lint sbom format lock wheel install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: $(READY) ## the whole service with sample traffic, in a folder that is thrown away
	$(BIN)/receiver demo

test: lint ## lint, then the quick tests with coverage
	$(BIN)/coverage erase
	$(BIN)/pytest -m "not slow" $(QUICK) --cov --cov-report=term

battery: $(READY) ## all tests, the slow ones too
	$(BIN)/pytest

# The lowest versions that pyproject.toml allows the program, the development tools as they come.
test-lowest: $(READY) ## the quick tests with the lowest allowed versions, in .venv-lowest
	rm -rf $(LOWEST)
	$(BIN)/python -m venv --without-pip $(LOWEST)
	$(BIN)/uv pip compile pyproject.toml -q --resolution lowest-direct --no-annotate --no-header \
	  --python $(LOWEST)/bin/python -o $(LOWEST)/lowest.txt
	$(BIN)/uv pip install -q --python $(LOWEST)/bin/python -r $(LOWEST)/lowest.txt --group dev -e .
	$(LOWEST)/bin/pytest -m "not slow" $(QUICK)

test-on: $(READY) ## the quick tests on another Python, in .venv-on: make test-on ON=3.13
	$(BIN)/uv venv -q --clear --no-python-downloads --python $(ON) $(OTHER)
	$(BIN)/uv pip install -q --python $(OTHER)/bin/python --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/uv pip install -q --python $(OTHER)/bin/python --no-deps --no-build-isolation -e .
	$(OTHER)/bin/pytest -m "not slow" $(QUICK) $(TESTS)

bench: $(READY) ## the benchmark of docs/performance.md
	$(BIN)/python -m benchmarks

lint: $(READY) ## ruff, mypy, and known holes in the locked packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/audit requirements.lock requirements-dev.lock

# Of requirements.lock alone, so that it is the same wherever and whenever it is made.
sbom: $(READY) ## dist/sbom.json: what the program is made of, as CycloneDX
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --output-format JSON --output-file dist/sbom.json

format: $(READY) ## puts the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The second file is the part of the first that the program itself needs.
lock: $(READY) ## writes requirements-dev.lock and requirements.lock anew, with the newest versions
	$(LOCK) --upgrade --group dev -o requirements-dev.lock
	$(LOCK) --upgrade --constraints requirements-dev.lock -o requirements.lock

wheel: $(READY) ## dist/*.whl
	rm -rf dist
	$(BIN)/python -m pip -q --disable-pip-version-check wheel --no-deps --no-build-isolation -w dist .

# A folder of its own each time, then the link: a service that runs keeps what it runs from, and
# going back is `ln -sfn` to the folder before.
install: RELEASE := $(abspath $(PREFIX)).$(shell date -u +%Y%m%dT%H%M%SZ)
install: wheel ## the program and what it needs into $(PREFIX), without development tools
	@test ! -e $(PREFIX) || test -L $(PREFIX) || { echo "$(PREFIX) is in the way: expected" \
	  "nothing there, or the link of an earlier make install; move it, or give another" \
	  "PREFIX=" >&2; exit 1; }
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock
	$(RELEASE)/bin/python $(PIP_INSTALL) --no-deps dist/*.whl
	ln -sfn $(RELEASE) $(PREFIX)

clean: ## removes the virtual environments and what tools left
	rm -rf $(VENV) $(LOWEST) $(OTHER) dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The lock file is the whole list: nothing is resolved anew (--no-deps), as a version that came
# out since would stop it, and `pip check` tells if the list is not whole. Then this tree is
# linked in.
$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "sms-receiver needs Python 3.11 or newer; if it has an unusual" \
	  "name: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@

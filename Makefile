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
# The tests are compiled; what changes in them since is compiled by whoever runs it.
COMPILED := $(VENV)/.compiled
# What builds the wheel, and nothing else.
BUILD := .venv-build
LOWEST := .venv-lowest
# Two processes a core, as tests wait as much as they compute; a quick one that takes five minutes
# hangs.
JOBS ?= $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2))))
QUICK := -m "not slow" -n $(JOBS) --dist worksteal -o faulthandler_timeout=300
MEASURED = $(if $(COVERAGE),--cov --cov-report=term)
# The files of tests that start no program; what computes for long in them is left out by its mark.
FAST = $(shell grep -rLE --include='test_*.py' \
  'subprocess|PROGRAM|tests[.]tutorial|tests import readme|\b(serve|launch|spawn|spawn_on_terminal)\b' tests)
# Another Python for `make test-on`, such as 3.13 or /path/to/python3.13.
ON ?= 3.13
TESTS ?= tests
OTHER := .venv-on
PIP := -m pip --disable-pip-version-check
# A lock file is the whole list, for pip and for uv. Nothing is resolved anew, as what came out
# since would change it or stop it; nothing is built, as a build fetches the newest of its tools.
LOCKED := --no-deps --only-binary :all: --require-hashes
# This tree, by the build tools that are there, from their lock file.
TREE := --no-deps --no-build-isolation
# `make lock UPGRADE=` keeps today's versions, and adds what pyproject.toml asks for besides.
UPGRADE ?= --upgrade
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 \
  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q
LOCK := $(COMPILE) --generate-hashes

# Without it each process of the tests would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-fast test-lowest test-on battery bench lint audit sbom format lock wheel \
  install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: $(READY) ## the whole service with sample traffic, in a folder that is thrown away
	$(BIN)/receiver demo

# Measuring takes as long again as the tests, so it is done when it is asked for.
test: $(READY) ## lint, then the quick tests; with coverage: make test COVERAGE=yes
	$(MAKE) --no-print-directory -j 2 lint $(COMPILED)
	$(BIN)/pytest $(QUICK) $(MEASURED)

test-fast: $(READY) ## the tests that start no program, with few examples each: for every save
	$(BIN)/pytest $(QUICK) -m "not slow and not commit and not postgresql" --hypothesis-profile=fast $(FAST)

battery: $(READY) ## all tests, the slow ones too
	$(BIN)/pytest

# In an environment of its own: $(call tested,FOLDER,PYTHON,LOCK FILE). With few examples each: it
# shows that the versions work; what our parsers do with anything shows make test.
define tested
	$(BIN)/uv venv -q --clear --no-python-downloads --python $(2) $(1)
	$(BIN)/uv pip install -q --compile-bytecode --python $(1)/bin/python $(LOCKED) -r $(3)
	$(BIN)/uv pip install -q --python $(1)/bin/python $(TREE) -e .
	$(BIN)/uv pip check -q --python $(1)/bin/python
	$(1)/bin/pytest $(QUICK) $(MEASURED) --hypothesis-profile=fast $(TESTS)
endef

# The lowest versions that pyproject.toml allows the program, the development tools as they come.
test-lowest: $(READY) ## the quick tests with the lowest allowed versions, in .venv-lowest
	$(call tested,$(LOWEST),$(BIN)/python,requirements-lowest.lock)

test-on: $(READY) ## the quick tests on another Python, in .venv-on: make test-on ON=3.13
	$(call tested,$(OTHER),$(ON),requirements-dev.lock)

bench: $(READY) ## the benchmark of docs/performance.md
	$(BIN)/python -m benchmarks

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# On its own, as a hole that is published tomorrow is no fault of a change made today.
audit: $(READY) ## known holes in the locked packages, as the package index knows them
	$(BIN)/python .ci/audit requirements.lock requirements-dev.lock

# Of requirements.lock alone, so that it is the same wherever and whenever it is made.
sbom: $(READY) ## dist/sbom.json: what the program is made of, as CycloneDX
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --output-format JSON --output-file dist/sbom.json

format: $(READY) ## puts the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# First all that is developed with, extras included; then the parts of it that the program (with its
# console, which `make install` brings) and its build need, both
# once more without hashes, as constraints (pip takes none with hashes); then all of it with the
# lowest versions, which are found without the development tools.
lock: $(READY) ## writes the lock files anew, with the newest versions
	$(LOCK) $(UPGRADE) pyproject.toml --all-extras --group dev -o requirements-dev.lock
	$(LOCK) $(UPGRADE) pyproject.toml --extra console --constraints requirements-dev.lock \
	  -o requirements.lock
	$(LOCK) $(UPGRADE) --group build --constraints requirements-dev.lock -o requirements-build.lock
	sed -n 's/ *\\$$//; /^[a-z]/p' requirements.lock requirements-build.lock | LC_ALL=C sort -u \
	  > constraints.txt
	cp requirements-dev.lock requirements-lowest.lock
	$(COMPILE) pyproject.toml --all-extras --resolution lowest-direct | \
	  $(LOCK) pyproject.toml --all-extras --group dev --constraints - -o requirements-lowest.lock

wheel: $(BUILD)/.ready ## dist/*.whl
	rm -rf dist
	$(BUILD)/bin/python $(PIP) -q wheel $(TREE) -w dist .

# A folder of its own each time, then the link: a service that runs keeps what it runs from, and
# going back is `ln -sfn` to the folder before.
install: RELEASE := $(abspath $(PREFIX)).$(shell date -u +%Y%m%dT%H%M%SZ)
install: wheel ## the program and what it needs into $(PREFIX), without development tools
	@test ! -e $(PREFIX) || test -L $(PREFIX) || { echo "$(PREFIX) is in the way: expected" \
	  "nothing there, or the link of an earlier make install; move it, or give another" \
	  "PREFIX=" >&2; exit 1; }
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python $(PIP) install -q $(LOCKED) -r requirements.lock
	$(RELEASE)/bin/python $(PIP) install -q --no-deps dist/*.whl
	$(RELEASE)/bin/python $(PIP) check
	ln -sfn $(RELEASE) $(PREFIX)

clean: ## removes the virtual environments and what tools left
	rm -rf $(VENV) $(BUILD) $(LOWEST) $(OTHER) dist
	rm -rf .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

PYTHON_FOUND = @test -n "$(PYTHON)" || { echo "sms-receiver needs Python 3.11 or newer; if it has" \
  "an unusual name: make PYTHON=/path/to/python3" >&2; exit 1; }

# The tree is linked in: what is changed in it is what runs.
$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON_FOUND)
	$(BIN)/python $(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python $(PIP) install -q $(LOCKED) -r requirements-dev.lock
	$(BIN)/python $(PIP) install -q $(TREE) -e .
	$(BIN)/python $(PIP) check
	touch $@

# Once, as all processes of tests that begin at the same time would do it.
$(COMPILED): $(READY)
	$(BIN)/pytest --collect-only -qq >/dev/null
	touch $@

$(BUILD)/.ready: requirements-build.lock
	$(PYTHON_FOUND)
	$(PYTHON) -m venv --clear $(BUILD)
	$(BUILD)/bin/python $(PIP) install -q $(LOCKED) -r requirements-build.lock
	touch $@

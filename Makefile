# Everything starts here; each target does the set-up that it needs.
#   make setup       .venv with all that a developer needs    make play ARGS='"pick up the red key"'
#   make test        lint, types, import directions, tests    make lint
#   make test-fast   the tests that take no component of the system and little time
#   make test-benchmarks   the slower benchmarks, each at a tiny size
#   make test-python PYTHON=python3.13   test-fast on another Python, in an environment of its own: build/python3.13
#   make coverage    all tests, and which lines they run      make docs   what is made of the code in docs/, and the site

PYTHON ?= python3
# Many tests wait for games and clocks: one process more than there are cores keeps the cores busy.
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
BIN := .venv/bin

# A mirror that pip is told of serves uv too.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export VIRTUAL_ENV := $(CURDIR)/.venv

.PHONY: setup play lint test test-benchmarks test-fast test-python coverage docs
.DEFAULT_GOAL := setup

setup: .venv/.setup-dev

play: .venv/.setup-play
	$(BIN)/agent play $(ARGS)

lint: .venv/.setup-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread for each test process: the processes are what fills the cores.
# Each process takes a row of neighbours, whose fixtures are made once, and who is done early takes half of another's.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist worksteal

test: lint
	$(PYTEST) -m 'not benchmark'

test-benchmarks: .venv/.setup-dev
	$(PYTEST) -m benchmark

test-fast: .venv/.setup-dev
	$(PYTEST) -m 'not slow and not real and not benchmark'

# Of TESTS, a part of the suite: make test-python PYTHON=python3.13 TESTS='tests/envs tests/agent'
OTHER := build/$(notdir $(PYTHON))
test-python: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(OTHER)
	$(BIN)/uv pip install --quiet --python $(OTHER) --editable '.[dev]'
	OMP_NUM_THREADS=1 $(OTHER)/bin/python -m pytest -n $(JOBS) --dist worksteal -m 'not slow and not real and not benchmark' $(TESTS)

coverage: .venv/.setup-dev
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html
	@echo "The lines themselves: htmlcov/index.html"

docs: .venv/.setup-dev
	$(BIN)/python docs/draw_rooms.py
	$(BIN)/python docs/file_map.py
	$(BIN)/python docs/action_prompts.py
	$(BIN)/python benchmarks/leaderboard.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site: build/site/index.html"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ludens needs Python 3.11 or newer;\
	 $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "this Python makes no virtual environments.\
	 On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

# The stamps make a second call instant; a changed pyproject.toml installs again.
.venv/.setup-play: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --editable '.[page]'
	@touch $@

.venv/.setup-dev: pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --editable '.[dev]'
	@touch .venv/.setup-play $@

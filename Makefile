# Every target sets up what it needs in $(VENV); nothing has to be installed by hand but Python 3.11+.

VENV ?= .venv
# The newest of the interpreters that will do; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
PROMPT ?= an astronaut in space
export PROMPT

.PHONY: help play play-deepsquare play-slurm imagine test test-fast test-diffusers check lint format docs wheel bench pin clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 24

play: $(VENV)/.installed ## the whole bot with no account: a web page that plays Discord
	$(BIN)/gridbrush play $(ARGS)

play-deepsquare: $(VENV)/.installed-dev ## the playground on a small DeepSquare of its own (needs npm)
	VENV=$(VENV) scripts/play-deepsquare gridbrush play

play-slurm: $(VENV)/.installed-dev ## the playground on a small Slurm cluster of its own (Debian)
	VENV=$(VENV) scripts/play-slurm

imagine: $(VENV)/.installed ## one grid without Discord: make imagine PROMPT="..." [ARGS="--seed 7"]
	$(BIN)/gridbrush imagine "$$PROMPT" $(ARGS)

check: $(VENV)/.installed ## what is missing in the configuration, and how to mend it
	$(BIN)/gridbrush check

test: $(VENV)/.installed-dev ## every check that CI runs
	VENV=$(VENV) scripts/test

test-fast: $(VENV)/.installed-dev ## style, types, and the tests that start no process: under a minute
	VENV=$(VENV) scripts/test-fast

test-diffusers: .venv-diffusers/.installed ## the tests with real pipelines, tiny ones (installs torch: 1 GB)
	.venv-diffusers/bin/python -m pytest tests/txt2img/test_diffusers.py tests/txt2img/test_diffusers_worker.py

lint: $(VENV)/.installed-dev ## style, types, and who may import whom
	VENV=$(VENV) scripts/lint

format: $(VENV)/.installed-dev ## put the code into shape
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: $(VENV)/.installed ## the documentation as a web site, in site/
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python scripts/settings_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: ## build the wheel, and try it in a bare virtual environment
	PYTHON=$(PYTHON) scripts/check-wheel dist

bench: $(VENV)/.installed-dev ## measure, as ratios in one run
	$(BIN)/python -m benchmarks

pin: $(VENV)/.installed-dev ## write constraints.txt anew from what is installed
	VENV=$(VENV) scripts/pin

clean: ## remove what the targets above made, but no data
	rm -rf $(VENV) .venv-diffusers build dist site htmlcov .coverage* .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make a virtual environment (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

# torch first, by its exact version: a plain "torch" may bring several GB for GPUs.
.venv-diffusers/.installed: pyproject.toml constraints.txt
	@test -x .venv-diffusers/bin/python || $(PYTHON) -m venv .venv-diffusers
	.venv-diffusers/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-diffusers/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,diffusers]'
	@touch $@

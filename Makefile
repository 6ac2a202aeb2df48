# The two commands of the README are `make search` and `make test`; `make help` lists the rest.
#
# .venv is made when it is missing and filled again when pyproject.toml or constraints.txt change; otherwise both
# commands start at once. INSTALLED= (empty) skips the installation; VENV and PYTHON choose where and with what.

PYTHON ?= python3
VENV ?= .venv
INSTALLED ?= $(VENV)/.installed
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
PYTEST := $(BIN)/python -m pytest

# make search STUDY=my.yaml SET="train.max_steps=100 quantizer.name=vq" FLAGS="--trials 4"
STUDY ?=
SET ?=
FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help install search start status env stop test test-slow test-all lint format

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(INSTALLED)  ## make .venv and install everything under the constraints

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "Python 3.11 to 3.13 is needed, this is %d.%d; say make PYTHON=python3.12" % v)'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing torch (the large one)"
	@$(PIP) torch
	@echo "installing the rest"
	@$(PIP) --editable '.[test,dev]'
	@$(BIN)/python -m tune.known_settings  # so that the first command refuses a misspelt setting at once
	@touch $@

search: $(INSTALLED)  ## start Ray and MLflow here, submit a study (default: quickstart), follow it
	@$(BIN)/python -m cluster.local search -- $(STUDY) $(SET) $(FLAGS)

start: $(INSTALLED)  ## start Ray and MLflow here
	@$(BIN)/python -m cluster.local start

status: $(INSTALLED)  ## say where Ray and MLflow are
	@$(BIN)/python -m cluster.local status || true

env:  ## print how a shell reaches them: eval "$(make env)"
	@$(BIN)/python -m cluster.local env

stop:  ## end what `make search` or `make start` started, by process id
	@$(BIN)/python -m cluster.local stop

test: $(INSTALLED)  ## the tests, one real search included
	@$(PYTEST) -m "not slow" $(FLAGS)

test-slow: $(INSTALLED)  ## only the tests that take minutes
	@$(PYTEST) -m slow $(FLAGS) || test $$? -eq 5  # 5: there are none

test-all: test test-slow  ## both

lint: $(INSTALLED)  ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy t5vqvae tune cluster

format: $(INSTALLED)  ## put the code in the house's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

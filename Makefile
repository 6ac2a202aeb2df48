# The two commands of the README are `make search` and `make test`; `make help` lists the rest.
#
# .venv is made when it is missing and filled again when pyproject.toml or constraints.txt change; otherwise both
# commands start at once. INSTALLED= (empty) skips the installation; VENV and PYTHON choose where and with what.

# Values are taken as written: neither make nor a shell runs anything in them (`$(...)`, `;`, backquotes).

PYTHON ?= python3
VENV ?= .venv
override PYTHON := $(value PYTHON)
override VENV := $(value VENV)
ifeq ($(origin INSTALLED),undefined)
INSTALLED := $(VENV)/.installed
endif
override INSTALLED := $(value INSTALLED)
# What make would read as its own language in the name of a file:
ODD := $(foreach letter,; : % | = $$ \ * ?,$(findstring $(letter),$(VENV)$(INSTALLED)))
ifneq ($(strip $(ODD))$(word 2,$(VENV))$(word 2,$(INSTALLED)),)
$(error VENV and INSTALLED take a path without spaces and without ; : % | = $$ \ * ?)
endif

# make search STUDY=my.yaml SET="train.max_steps=100 quantizer.name=vq" FLAGS="--trials 4"
# SET and FLAGS hold words, which are split at spaces as a shell does; STUDY is one.
STUDY ?=
SET ?=
FLAGS ?=

override STUDY := $(value STUDY)
override SET := $(value SET)
override FLAGS := $(value FLAGS)

define newline


endef
quoted = '$(subst ','\'',$(subst $(newline), ,$1))'
BIN := $(call quoted,$(VENV))/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
# PYTEST LAST FIRST...: FLAGS stand between, so that they go before what comes first, but not before what comes last.
PYTEST := $(BIN)/python -c 'import shlex, sys, pytest; flags, last, *first = sys.argv[1:]; sys.exit(pytest.main([*first, *shlex.split(flags), last]))' $(call quoted,$(FLAGS))

# Tests that start Ray run alone; the others before them side by side, one file and one thread a process. 5 is pytest's
# status for "no tests", which one of the two may have.
define tests
@OMP_NUM_THREADS=1 $(PYTEST) --part=beside -n logical --maxprocesses 8 --dist loadfile -m "not slow"; beside=$$?; \
test $$beside -le 1 -o $$beside -eq 5 || exit $$beside; \
$(PYTEST) -n0 --part=alone -m "not slow"; alone=$$?; \
case "$$beside $$alone" in "0 5") exit 0;; "0 "*|"5 "*) exit $$alone;; *) exit $$beside;; esac
endef

.DEFAULT_GOAL := help
.PHONY: help install search start status env stop dashboards test test-slow test-all lint format

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(INSTALLED)  ## make .venv and install everything under the constraints

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(call quoted,$(PYTHON)) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "Python 3.11 to 3.13 is needed, this is %d.%d; say make PYTHON=python3.12" % v)'
	@test -x $(BIN)/python || { echo making $(call quoted,$(VENV)); $(call quoted,$(PYTHON)) -m venv $(call quoted,$(VENV)); }
	@echo "installing torch (the large one)"
	@$(PIP) torch
	@echo "installing the rest"
	@$(PIP) --editable '.[test,dev]'
	@$(BIN)/python -m tune.known_settings  # so that the first command refuses a misspelt setting at once
	@touch $(call quoted,$@)

search: $(INSTALLED)  ## start Ray and MLflow here, submit a study (default: quickstart), follow it
	@$(BIN)/python -m cluster.local search --study=$(call quoted,$(STUDY)) --words=$(call quoted,$(SET)) --words=$(call quoted,$(FLAGS))

start: $(INSTALLED)  ## start Ray and MLflow here
	@$(BIN)/python -m cluster.local start

status: $(INSTALLED)  ## say where Ray and MLflow are
	@$(BIN)/python -m cluster.local status || true

env:  ## print how a shell reaches them: eval "$(make env)"
	@$(BIN)/python -m cluster.local env

dashboards:  ## start Prometheus on the state folder's drivers: http://127.0.0.1:9090
	@command -v prometheus >/dev/null || { echo "prometheus is missing; install it (Debian: apt-get install prometheus)"; exit 1; }
	@state=$${T5VQVAE_STATE:-$$PWD/var}/prometheus; mkdir -p "$$state/targets"; \
	cp dashboards/prometheus/prometheus.yml dashboards/prometheus/rules.yml dashboards/prometheus/alerts.yml "$$state/"; \
	exec prometheus --config.file="$$state/prometheus.yml" --storage.tsdb.path="$$state/data" --web.listen-address=127.0.0.1:9090

stop:  ## end what `make search` or `make start` started, by process id
	@$(BIN)/python -m cluster.local stop

test: $(INSTALLED)  ## the tests, one real search included
	$(tests)

test-slow: $(INSTALLED)  ## only the tests that take minutes
	@$(PYTEST) -n0 -m slow || test $$? -eq 5  # 5: there are none

test-all: test test-slow  ## both

lint: $(INSTALLED)  ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy t5vqvae tune cluster

format: $(INSTALLED)  ## put the code in the house's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

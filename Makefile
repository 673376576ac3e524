# Two commands do all the set-up that they need: `make demo` and `make test`. Each target can be run again.
SHELL := /bin/bash
PYTHON ?= $(shell for v in python3 python3.13 python3.12 python3.11; do \
	command -v $$v >/dev/null && $$v -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$v && break; done)
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
export PATH := $(BIN):$(PATH)
export GX_ANALYTICS_ENABLED := false
# Test files run side by side, each in one process, with a Spark and a Cassandra of its own.
WORKERS ?= 2
DAYS ?= 31

.PHONY: help setup demo test lint bench soak cluster package stop clean lock

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## the environment in .venv, and the jars of Delta, PostgreSQL and Cassandra in the user's cache

$(STAMP): requirements/dev.txt requirements/uv.txt setup.cfg $(wildcard features/embedded/*.lock)
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 found; install one, or say which: make PYTHON=/path/to/python3.12"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "$(PYTHON) is not Python 3.11 to 3.13"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	$(BIN)/python -m features.embedded
	@touch $@

demo: setup  ## run the whole platform on real flights data; ENV=cluster: on what `make cluster` starts
	$(if $(ENV),FEATURES_ENV=$(ENV)) $(BIN)/python -m features.demo

test: setup lint  ## lint, types, layers, and every test, with real Spark, Delta, Cassandra, Airflow and PostgreSQL
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 30
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: setup  ## ruff, mypy --strict and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## every performance figure, against peers in the same run
	$(BIN)/python -m benchmarks

soak: setup  ## a month of flights by a real `airflow standalone`, amid kills and a refused interval; DAYS=31
	$(BIN)/python -m tests.soak --days $(DAYS)

cluster: setup  ## start a Spark master and two workers, three Cassandra nodes and PostgreSQL on this machine
	$(BIN)/features cluster start --env cluster

package: setup  ## the wheel, and an environment that travels with spark-submit, in dist/
	$(BIN)/features package --output dist

stop:  ## stop what runs on this machine for this checkout: Cassandra, Airflow, the cluster
	@if test -x $(BIN)/python; then $(BIN)/python -m features.demo --stop; fi

clean: stop  ## remove all state: data, logs, registry, Cassandra's and Airflow's; the environment stays
	@if test -x $(BIN)/features -a -d .state/cluster; then $(BIN)/features cluster reset --env cluster; fi
	rm -rf .state .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

lock: setup  ## bring requirements/ up to setup.cfg
	$(BIN)/uv pip compile requirements/uv.in $(LOCK) -o requirements/uv.txt
	$(BIN)/uv pip compile setup.cfg --extra serving --extra postgres $(LOCK) -o requirements/serving.txt
	$(BIN)/uv pip compile setup.cfg --extra spark --extra postgres $(LOCK) -o requirements/jobs.txt
	$(BIN)/uv pip compile setup.cfg --all-extras $(LOCK) -o requirements/dev.txt

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

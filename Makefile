# One line of help per target; CI calls the same targets. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3.11
SSC_DATA ?= $(CURDIR)/data
SERVE ?= 1
export SSC_DATA
export DAGSTER_HOME := $(CURDIR)
export PYTHONPATH := $(CURDIR)
export DBT_PROFILES_DIR := $(CURDIR)/dbt_project
export GX_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
RUN := .venv/bin/python

.PHONY: help setup demo demo-day up pull collect backfill warehouse warehouse-spark test test-long test-spark bench generate catalogue quarantine approve withdraw releases backup restore upgrade lock lint

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

.venv/.stamp: requirements/product.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is missing: install it, or name it with PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "$(PYTHON) is not Python 3.11: name one with PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing the product's environment (.venv) …"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements/product.txt)"
	@.venv/bin/uv pip sync --quiet --python .venv/bin/python requirements/product.txt
	@touch $@

.venv-superset/.stamp: requirements/superset.txt .venv/.stamp
	@echo "Installing Superset's environment (.venv-superset) …"
	@$(PYTHON) -m venv --without-pip .venv-superset
	@.venv/bin/uv pip sync --quiet --python .venv-superset/bin/python requirements/superset.txt
	@touch $@

.venv-spark/.stamp: requirements/spark.txt .venv/.stamp
	@echo "Installing the environment with Spark (.venv-spark) …"
	@$(PYTHON) -m venv --without-pip .venv-spark
	@.venv/bin/uv pip sync --quiet --python .venv-spark/bin/python requirements/spark.txt
	@touch $@

setup: .venv/.stamp .venv-superset/.stamp  ## Install both environments from the locks

demo: setup  ## Run the main job on the reference district and serve it (SERVE=0: exit when done)
	@$(RUN) -m orchestration.demo $(if $(filter 0,$(SERVE)),--no-serve)

demo-day: setup  ## Move the reference district's clock one day on, pull, build and release
	@$(RUN) -m orchestration.demo --day

up: setup  ## Serve your own departments: SSC_<SYSTEM>_URL and _TOKEN in the environment, schedules on
	@$(RUN) -m orchestration.serve --schedules

pull: setup  ## Pull every system now, or SYSTEM= alone
	@$(RUN) -m orchestration pull $(SYSTEM)

collect: setup  ## Take messages from the brokers that have an address (`make up` does it too); Ctrl-C ends it
	@$(RUN) -m sources.collector

backfill: setup  ## Pull one day of a system again: SYSTEM= DAY=YYYY-MM-DD
	@$(RUN) -m orchestration backfill "$(SYSTEM)" "$(DAY)"

warehouse: setup  ## Build, judge and release what has landed
	@$(RUN) -m orchestration warehouse

warehouse-spark: setup .venv-spark/.stamp  ## Build what has landed on the Spark cluster at SSC_SPARK_HOST and SSC_SPARK_PORT
	@.venv-spark/bin/python -m orchestration.spark

test: setup  ## Run the whole test suite
	@$(RUN) -m pytest tests -n 2 --dist loadgroup --no-loadscope-reorder -m "not long and not spark" $(PYTEST)

test-long: setup  ## The tests that take minutes: twenty kills, the demo's scale
	@$(RUN) -m pytest tests -m long $(PYTEST)

test-spark: .venv-spark/.stamp  ## The same models on a Spark cluster that the tests start, row for row as DuckDB's (needs Java 17)
	@.venv-spark/bin/python -m pytest tests/spark -m spark $(PYTEST)

bench: setup  ## Print the benchmarks as JSON
	@$(RUN) -m tests.bench

generate: setup  ## Write base and staging models, sources and row rules from the catalogue (CHECK=1: only compare)
	@$(RUN) -m sources.generate $(if $(CHECK),--check)

catalogue: setup  ## Check the catalogue and print it
	@$(RUN) -m sources.catalogue

quarantine: setup  ## What waits in quarantine of SYSTEM=, rule by rule, with where to look
	@$(RUN) -m orchestration quarantine $(SYSTEM)

approve: setup  ## Publish a release for residents: RELEASE=<id> (default: current) BY=<name>
	@$(RUN) -m orchestration.release approve "$(or $(RELEASE),current)" --by "$(BY)"

withdraw: setup  ## Take the public release back to the one approved before: BY=<name>
	@$(RUN) -m orchestration.release withdraw --by "$(BY)"

releases: setup  ## List the releases that are kept, and which are current and public
	@$(RUN) -m orchestration.release list

backup: setup  ## Copy landing, releases, publication log, secrets and Superset's metadata to TO=<folder>
	@$(RUN) -m orchestration.backup backup "$(TO)"

restore: setup  ## Restore FROM=<folder> into an empty data folder, then build again from landing
	@$(RUN) -m orchestration.backup restore "$(FROM)"

upgrade: setup  ## After a new version: install the locks, migrate Superset, rebuild what changed
	@$(RUN) -m orchestration warehouse
	@.venv-superset/bin/python -m dashboards.provision

lock:  ## Compile the locks anew from requirements/*.in
	@.venv/bin/uv pip compile --quiet --python-version 3.11 --no-header requirements/product.in -o requirements/product.txt
	@.venv/bin/uv pip compile --quiet --python-version 3.11 --no-header requirements/superset.in -o requirements/superset.txt
	@.venv/bin/uv pip compile --quiet --python-version 3.11 --no-header --constraint requirements/product.txt requirements/spark.in -o requirements/spark.txt

lint: setup  ## Style of Python and SQL, types, and who may import whom
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@cd dbt_project && ../.venv/bin/sqlfluff lint --disable-progress-bar models

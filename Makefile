# Every target works as the first command on a fresh clone: it makes .venv from uv.lock.
# Needs python3 (3.11 to 3.13, or network for uv to get one), make and git.

VENV := .venv
PYTHON := $(VENV)/bin/python
UV_VERSION := 0.13.8
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false

.DEFAULT_GOAL := help
.PHONY: help setup run study ui quick test test-all test-ray check format bench requirements clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.locked ## make .venv from uv.lock; other targets do this when needed

$(VENV)/bin/uv:
	@python3 -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.locked: uv.lock pyproject.toml | $(VENV)/bin/uv
	@echo "making $(VENV) from uv.lock; the first time this downloads about 1 GB"
	@$(VENV)/bin/uv sync --frozen --quiet --compile-bytecode
	@touch $@

run: setup ## study circles and digits, which need no download; a few minutes
	@dvc repro --quiet prepare@circles && $(PYTHON) -m pipeline article circles
	@dvc repro --quiet report@circles && dvc repro --quiet report@digits
	@dvc repro --quiet --single-item overview & overview=$$!; \
	$(PYTHON) -m pipeline publish circles digits > /dev/null; \
	wait $$overview # publishing adds nothing, unless results came from a cache
	@echo "\`make ui\` opens MLflow; the links above lead to the learning curves of each study"

study: setup ## every study but those of articles B and C at full size; `dvc repro` runs these too
	dvc repro $$($(PYTHON) -c "import yaml; print(*('report@' + name for name in \
	  yaml.safe_load(open('params.yaml'))['studies'] if not name.endswith('_article')))")
	dvc repro --single-item overview

ui: setup ## open MLflow on 127.0.0.1:5000
	mlflow server --host 127.0.0.1 --port 5000 --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}

quick: setup ## tests for while you edit: none that trains, compiles or starts a server; under 2 minutes
	$(PYTHON) -m pytest -n auto --dist loadfile -m "not slow and not exhaustive"

test: setup ## the test suite; about 20 minutes on two cores
	$(PYTHON) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not exhaustive"

test-all: setup ## every test, also techniques in the kind of program that they are not trained in
	$(PYTHON) -m pytest -n auto --dist loadfile

test-ray: setup ## a simulated Ray cluster; installs the extra `ray`; about 2 minutes
	$(VENV)/bin/uv sync --frozen --quiet --extra ray
	$(PYTHON) -m pytest -m "not exhaustive" tests/test_ray.py

check: setup ## format, lint, types, links and commands of the documentation, known holes of packages
	ruff format --check .
	ruff check .
	mypy
	$(PYTHON) -m tests.documents
	$(PYTHON) -m tests.audit

format: setup ## format, and mend what lint can mend
	ruff format .
	ruff check --fix .

bench: setup ## engine against model.fit; tables on the terminal
	$(PYTHON) -m benchmarks

requirements: setup ## write requirements.txt from uv.lock, for `mlflow run` with virtualenv
	$(VENV)/bin/uv export --quiet --frozen --no-dev --no-hashes --no-annotate --output-file requirements.txt

clean: ## delete results, models, journal and MLflow's store; keeps .venv, raw data, DVC's cache
	rm -rf results models reports studies dvc_plots data/prepared .journal mlflow.db* mlartifacts mlruns test-artifacts logs .mypy_cache .pytest_cache .ruff_cache

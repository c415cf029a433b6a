# make        what there is to type
# make run    everything, from a fresh clone to a service that answers

PYTHON ?= python3
ARGS ?=
DESTDIR ?=
PREFIX ?= /opt/kumomta

# One more than there are cores, for tests that wait. Each has a PostgreSQL of its own; what the tests of a file share is made once.
WORKERS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 8 ? cores + 1 : 8)))

BIN := .venv/bin
MAKEFLAGS += --no-print-directory

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; \
	do printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: venv
venv:  ## .venv from requirements.lock
	@$(PYTHON) .ci/venv.py

.PHONY: run
run: venv  ## embedded PostgreSQL, example policy on the first run, service (ARGS=… for policyd up)
	@exec $(BIN)/policyd up $(ARGS)

.PHONY: test
test: venv  ## all tests, against a real PostgreSQL, on every core (with ARGS=… for pytest on one)
	@echo "  pytest"
	@$(BIN)/python -m pytest -q $(or $(ARGS),-n $(WORKERS) --dist loadfile)

.PHONY: test-kumod
test-kumod: venv  ## the tests with a real kumod: $KUMOD, or KumoMTA's package (ARGS=… for pytest)
	@echo "  pytest tests/kumod"
	@$(BIN)/python -m pytest -q tests/kumod $(ARGS)

.PHONY: lint
lint: venv  ## formatter, ruff, mypy strict, import-linter; stylua and luacheck where they are
	@echo "  ruff format --check"; $(BIN)/ruff format --quiet --check . || { echo "  make format does that"; exit 1; }
	@echo "  ruff check"; $(BIN)/ruff check --quiet .
	@echo "  mypy"; $(BIN)/mypy --no-error-summary
	@for tool in "stylua --check" "luacheck -qqq --no-color"; do if command -v $${tool%% *} >/dev/null; \
	then echo "  $$tool"; (cd lua-client && $$tool policyd) || exit 1; else echo "  $${tool%% *} is not installed: left out"; fi; done
	@echo "  lint-imports"; $(BIN)/lint-imports --no-logo > .venv/lint-imports.log 2>&1 || { cat .venv/lint-imports.log; exit 1; }

.PHONY: format
format: venv  ## let ruff rewrite what it can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

.PHONY: bench
bench: venv  ## the table of numbers, measured here (ROWS=… SECONDS=… ROUNDS=…, ARGS=--help for more)
	@$(BIN)/python -m tests.bench $(if $(ROWS),--rows $(ROWS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

.PHONY: chaos
chaos: venv  ## everything that can happen, at once, to the real thing (SEED=… MINUTES=…)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

.PHONY: soak
soak: venv  ## the random histories of the tests, by the thousand
	@$(BIN)/python -m pytest -q -m soak $(ARGS)

.PHONY: install-lua
install-lua:  ## the Lua client for kumod, and a key for its store on the first run (DESTDIR=… PREFIX=/opt/kumomta)
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" sh lua-client/install.sh

.PHONY: sql
sql: venv  ## ask the database that make run started: make sql ARGS='"select * from policy.tenant"'
	@$(BIN)/policyd sql $(ARGS)

.PHONY: schema
schema:  ## what is derived in sql/: the catalogue's migration and schema.sql
	@$(PYTHON) sql/generate.py

.PHONY: dashboards
dashboards: venv  ## deploy/grafana/dashboards/*.json from their pages
	@cd deploy/grafana && ../../$(BIN)/python generate.py

.PHONY: docs
docs: venv  ## docs/reference and the manual page from code, schema and catalogue
	@cd docs && ../$(BIN)/python generate.py

.PHONY: lock
lock:  ## requirements.lock and the image's anew: every version, every hash, no address
	@echo "  uv pip compile"
	@rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet --disable-pip-version-check uv
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	  --extra embedded --group dev pyproject.toml --output-file requirements.lock
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --constraint requirements.lock \
	  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
	  --group build pyproject.toml --output-file deploy/container/requirements.lock
	@! grep -nE '://|@ |^-' requirements.lock deploy/container/requirements.lock || { echo "a lock names an address"; exit 1; }

.PHONY: clean
clean:  ## the environment and caches; no database
	@rm -rf .venv .venv.lock build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find service tests -name __pycache__ -type d -prune -exec rm -rf {} +

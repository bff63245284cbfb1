# `make` lists the targets. Every target sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_ARGS ?=
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup run explorer test check audit bench bench-subscriptions bench-root-cause bench-security chaos soak demo stack dashboards schema migration lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-19s %s\n", $$1, $$2}'

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.development: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the locked development tools into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Tried once per change of its sources: without network the server has to start all the same.
$(VENV)/.explorer: explorer/package-lock.json explorer/index.html explorer/vite.config.js explorer/build $(wildcard explorer/src/*) | $(VENV)/.runtime
	@explorer/build $(BIN)/python || true
	@touch $@

setup: $(VENV)/.runtime $(VENV)/.explorer ## Create the environment, install the locked dependencies, build the explorer

run: setup ## Serve on http://127.0.0.1:9000 (DEMO=1 loads a demo shop; RUN_ARGS="--port 9100")
	@$(BIN)/reliability-studio serve $(if $(DEMO),--demo) $(RUN_ARGS)

explorer: $(VENV)/.runtime ## Build the explorer (GraphiQL) that a browser gets at /graphql
	@explorer/build $(BIN)/python
	@touch $(VENV)/.explorer

test: $(VENV)/.development $(VENV)/.explorer ## Lint, types, layers, migrations, tests (PYTEST_ARGS="tests/http -x", TEST_PROCESSES=2)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

check: setup ## Ask the configuration, the database and each telemetry backend whether they work
	@$(BIN)/reliability-studio check

audit: $(VENV)/.development ## Ask for known vulnerabilities of everything that is locked
	@.ci/audit $(BIN)/python

bench: $(VENV)/.development ## Measure reads beside other servers (BENCH_ARGS="--quick", "--postgraphile")
	@$(BIN)/python -m bench.read $(BENCH_ARGS)

bench-root-cause: $(VENV)/.development ## Measure root causes on recorded incidents (CASES=folder, BENCH_ARGS="--robustness", "--help")
	@$(BIN)/python -m bench.root_cause $(CASES) $(BENCH_ARGS)

bench-security: $(VENV)/.development ## Measure what authentication, rights and rates cost a read (BENCH_ARGS="--rounds 4")
	@$(BIN)/python -m bench.security $(BENCH_ARGS)

bench-subscriptions: $(VENV)/.development ## Measure subscriptions beside stock Strawberry (BENCH_ARGS="--quick", "--help")
	@$(BIN)/python -m bench.subscriptions $(BENCH_ARGS)

chaos: $(VENV)/.development ## Kill servers, connections and Postgres for a while, and show that no event is lost (CHAOS_SECONDS=180)
	@CHAOS_SECONDS=$(or $(CHAOS_SECONDS),180) OUTAGE_SECONDS=20 ROLLING_ROUNDS=3 $(BIN)/python -m pytest tests/chaos tests/actions/test_alert_interleavings.py -s

soak: $(VENV)/.development ## Use a server for 20 minutes, and show that its memory stays as it is (BENCH_ARGS="--minutes 60 --workers 4")
	@$(BIN)/python -m bench.soak $(BENCH_ARGS)

demo: setup ## Load the demo shop into the database (can be repeated)
	@$(BIN)/reliability-studio demo

stack: setup ## Start the whole stack without Docker, with a demo shop to break (STACK_ARGS="--check", "--free-ports", "--help")
	@$(BIN)/python -m deploy.stack $(STACK_ARGS)

dashboards: setup ## Write grafana/dashboards/*.json anew
	@$(BIN)/python -m grafana.write

schema: setup ## Print the GraphQL schema into schema.graphql, and who may do what into tests/security/rights.md
	@$(BIN)/reliability-studio schema > schema.graphql
	@$(BIN)/python -m tests.security.rights

migration: $(VENV)/.development ## Write a migration from the difference between tables and database (MESSAGE="add a column")
	@$(BIN)/python -m migrations.write "$(MESSAGE)"

lock: $(VENV)/.development ## Lock the dependencies anew
	@$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --group build pyproject.toml -o requirements.lock --quiet
	@$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock --quiet
	@$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --group node -o explorer/requirements.lock --quiet

clean: ## Remove what was built
	rm -rf $(VENV) explorer/dist explorer/node_modules

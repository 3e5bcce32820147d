# `make demo` and `make test` are all that a newcomer needs; CONTRIBUTING.md has the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIRBYTE := .venv-airbyte
PEERS := .venv-bench

.PHONY: demo demo-reset test setup check-tools check format unit soak simulate crash fuzz bench lock faults load audit

demo: setup
	@$(BIN)/python scripts/demo.py

demo-reset:
	rm -rf .demo

test: setup $(AIRBYTE)/.installed $(PEERS)/.installed check unit

setup: check-tools $(VENV)/.installed node_modules/.installed

check-tools:
	@PYTHON=$(PYTHON) sh scripts/check-tools.sh

$(VENV)/.installed: requirements/dev.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Airbyte's connector pins what it stands on, and wants a Python before 3.12: an environment of its own. Its test is
# skipped loudly, or fails in CI, where there is none.
$(AIRBYTE)/.installed: requirements/airbyte.lock
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
	  $(PYTHON) -m venv $(AIRBYTE) && \
	  $(AIRBYTE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/airbyte.lock; \
	else mkdir -p $(AIRBYTE); fi
	@touch $@

node_modules/.installed: package-lock.json package.json examples/auth/package.json examples/chat/package.json examples/search/package.json examples/vectors/package.json tests/clients/package.json
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# Everything that reads the code without running it.
check: node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	npm run --silent --workspace examples/chat --workspace examples/auth --workspace examples/search --workspace examples/vectors check

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# As many at once as there are cores; tests of one module stay together, since they share its servers.
unit:
	$(BIN)/pytest --numprocesses=auto --dist=loadscope
	for tests in examples/*/tests; do $(BIN)/pytest $$tests || exit 1; done

# The whole system on a seeded event loop, SEEDS times from FIRST on; SEED=n replays one (docs/simulation.md).
simulate: setup
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200) --first $(or $(FIRST),0))

# The property tests, for a long while.
soak: setup
	$(BIN)/pytest --hypothesis-profile=soak tests/values tests/occ tests/storage tests/engine tests/sync tests/proofs tests/histories

# Each planted fault, and the proof that finds it: docs/faults.md. ONLY=part of a name for some of them.
faults: setup
	$(BIN)/python -m tests.faults $(ONLY)

# Kill -9 and the loss of power, SEEDS=20 histories of each: docs/crashes.md.
crash: setup
	CRASH_SEEDS=$(or $(SEEDS),20) $(BIN)/pytest --numprocesses=auto tests/crashes

# 10,000 open sessions, or SESSIONS, with three subscriptions each, and what one of them takes: docs/running.md.
load: setup
	SESSIONS=$(or $(SESSIONS),10000) $(BIN)/pytest -s -o faulthandler_timeout=600 tests/load

# Looks for input that breaks a decoder, SECONDS=30 for each; then many wrong sessions and requests: docs/crashes.md.
fuzz: setup
	$(BIN)/python -m tests.fuzzing $(or $(SECONDS),30)
	FUZZ_SESSIONS=2000 FUZZ_CASES=60 $(BIN)/pytest -s -o faulthandler_timeout=0 tests/fuzzing tests/server/test_openapi.py

# Against PocketBase and the bare limits, in about 20 minutes; writes bench/results.json and its plot. ONLY=name measures one.
bench: setup $(PEERS)/.installed
	@$(BIN)/python -m bench $(ONLY)

$(PEERS)/.installed: requirements/bench.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.lock
	@touch $@

# Known vulnerabilities of what is locked, as far as the registries tell them: a report, which fails nothing.
audit:
	@$(PYTHON) -m venv .venv-audit && \
	  .venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.lock && \
	  .venv-audit/bin/python scripts/audit.py || echo "NOT AUDITED: the audit itself could not run"

lock:
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe --no-header -o requirements/dev.lock pyproject.toml requirements/dev.in
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe --no-header -o requirements/airbyte.lock requirements/airbyte.in
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe --no-header -o requirements/bench.lock requirements/bench.in
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe --no-header -o requirements/audit.lock requirements/audit.in
	npm install --package-lock-only --ignore-scripts --no-audit --no-fund

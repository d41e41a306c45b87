# Two commands matter: `make run` and `make test`. Both make what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
SERVER ?= uvicorn
PYTEST ?=
BENCH ?=
SOAK ?= 3600
MUTANTS ?= 100
# Where `make run` may make the account demo / demo: its own database. `anywhere`: in the one of DATABASE_URL as well.
DEMO ?= embedded

.PHONY: run test test-worker proof mutants coverage bench bench-history bench-scaling bench-peers soak check lint format lock clean

run: $(VENV)/.run
	@DEBUG=$${DEBUG:-1} HOST=$(HOST) PORT=$(PORT) SERVER=$(SERVER) exec $(BIN)/python manage.py serve --migrate --demo $(DEMO) -v 0

# Two tests at a time; those that start servers and browsers, and look at the clock, beside no others than their kind.
test: check
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m alone
endif

# The same with turns that are run by workers (docs/workers.md): CHAT_RUNNER is the switch.
test-worker: $(VENV)/.dev
	CHAT_RUNNER=worker $(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone" $(PYTEST)
	CHAT_RUNNER=worker $(BIN)/python -m pytest -n 2 --dist loadfile -m alone $(PYTEST)

# What no test runs, of lines and of ways out of them; fails under the bars of tests/covered.py. Not all tests: those
# that no server is needed for, the turns once more with workers, and some that start and end servers of every kind.
# What a process did that was killed is not counted.
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal -m "not alone"
	CHAT_RUNNER=worker $(BIN)/coverage run -m pytest -n 2 --dist worksteal tests/turns
	$(BIN)/coverage run -m pytest $(addprefix tests/acceptance/test_,serving.py figures.py two_processes.py)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage json --quiet -o - | $(BIN)/python -m tests.covered

# What is promised, what may break and what may be tried, in the long forms: hundreds of kills, thousands of readers.
# Writes docs/proof.md. PROOF="F5 P3" runs some rows, PROOF=--short the short forms;
# PYTEST=tests/acceptance/test_kills.py the long form of one file.
proof: $(VENV)/.dev
ifdef PYTEST
	PROOF=long $(BIN)/python -m pytest -v -s $(PYTEST)
else
	$(BIN)/python -m tests.proof $(PROOF)
endif

# One change of the code at a time, so many of the fold, the writer and the store, and whether a test notices; writes
# docs/proof-mutants.md. MUTANTS=all: every one there is.
mutants: $(VENV)/.dev
	$(BIN)/python -m tests.proof.mutants --number $(MUTANTS)

# The streams against a bare Django view, as ratios in one run; BENCH=--quick shows the rows with tiny numbers.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.streams $(BENCH)

# The copilot chats' history against one raw INSERT: backfill, reconcile, reads; about ten minutes.
bench-history: $(VENV)/.dev
	$(BIN)/python -m benchmarks.history $(BENCH)

# How cost grows with turns, readers, history and processes; writes the figures into docs/scaling.md. Four minutes.
bench-scaling: $(VENV)/.dev
	$(BIN)/python -m benchmarks.scaling --page docs/scaling.md $(BENCH)

# An hour of mixed load with kills, and what grows meanwhile; writes docs/proof-soak.md. SOAK=60: a minute.
soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.soak --seconds $(SOAK) --page docs/proof-soak.md $(BENCH)

# This project beside what a team would otherwise pick, installed into .data/peers; writes docs/peers.md.
bench-peers: $(VENV)/.dev
	$(BIN)/python -m benchmarks.peers $(BENCH)

# Every linter, the import contracts, types, production settings, missing migrations.
check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	DEBUG=1 $(BIN)/mypy
	$(BIN)/djlint chat/templates --lint --quiet
	DEBUG=0 SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(60))") \
	    ALLOWED_HOSTS=chat.example.org $(BIN)/python manage.py check --deploy --fail-level WARNING
	DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pin everything for every supported Python at once.
lock: $(VENV)/.dev
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock" \
	    pyproject.toml --extra metrics --extra worker -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock" \
	    pyproject.toml --extra dev --extra worker -c requirements.txt -o requirements-dev.txt

clean:
	@for data in .data/*postgres*; do rm -rf "$$(readlink -f "$$data")"; done  # as root it may be a link
	rm -rf $(VENV) .data staticfiles .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV) \
	    || { echo "This Python cannot make a virtual environment (Debian: apt install python3-venv)."; exit 1; }

$(VENV)/.run: requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run

# Everything a developer does with this repository. Needs make and Python 3.11 or newer; `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench chaos slow recovery outage fuzz scale vectors docs lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: .venv/.complete  ## Make .venv with exactly the locked packages, and a Java runtime where the machine has none

# The stamp is written last: an interrupted setup starts over. The embedded broker needs Java 17 or newer.
.venv/.complete: requirements.lock requirements-embedded.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or newer: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from pipeline.ops.java import find_java; find_java()' 2>/dev/null \
		|| { echo "no Java 17 or newer here: installing one into .venv"; \
		     $(INSTALL) --require-hashes -r requirements-embedded.lock; }
	@touch $@

demo: setup  ## Run the whole system and send 10,000 messages through it
	$(BIN)/sms-pipeline demo

test: setup  ## Run every test
	$(BIN)/python -m pytest

lint: setup  ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## Measure throughput on this machine
	$(BIN)/sms-pipeline bench

SEEDS ?= 1..20
MESSAGES ?= 20000
KILLS ?= 10
FAULTS ?=
chaos: setup  ## Kill, stop and starve everything under load; SEEDS=7 FAULTS=kill-random,… MESSAGES= KILLS= for others
	$(BIN)/python -m tests.chaos --seeds "$(SEEDS)" --messages $(MESSAGES) --kills $(KILLS) --faults "$(FAULTS)"

slow: setup  ## Serve while 10,000 slow connections are open
	SMS_TEST_SLOW=10000 $(BIN)/python -m pytest -s tests/gateway/test_gateway_connections.py -k many_slow

recovery: setup  ## Measure how long a killed worker's work stands still, with a million messages of state
	$(BIN)/python -m tests.chaos.recovery

outage: setup  ## Have a client fail for five minutes, and see that it is told everything once it is back
	$(BIN)/python -m tests.callbacks.outage

EXAMPLES ?= 300
fuzz: setup  ## Make EXAMPLES requests of each HTTP operation, good and bad ones, of our own OpenAPI document
	SMS_TEST_FUZZ=$(EXAMPLES) $(BIN)/python -m pytest tests/gateway/test_openapi_live.py --timeout 3600

scale: setup  ## Measure the read model with ten million messages, in a database that is made for it (8 GB, minutes)
	$(BIN)/python -m tests.store.scale

vectors: setup  ## Ask two other implementations for the parts of 3,000 texts again, and compare; needs Node and npm
	cd tests/text/vectors && npm ci --silent
	$(BIN)/python tests/text/vectors/corpus.py | node tests/text/vectors/ask.mjs > .vectors.tmp
	mv .vectors.tmp tests/text/vectors/vectors.ndjson
	$(BIN)/python -m pytest tests/text/test_vectors.py

docs: setup  ## Write docs/metrics.md and the tables of docs/text.md anew
	$(BIN)/python -m pipeline.ops.metrics_page > docs/metrics.md
	{ sed '/^<!-- What follows/q' docs/text.md; $(BIN)/python -m pipeline.text.page; } > .text.tmp
	mv .text.tmp docs/text.md

# Locked versions are kept where they still fit; `make lock UPGRADE=--upgrade` takes the newest.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url $(UPGRADE)
lock: setup  ## Write the locks anew from pyproject.toml
	$(COMPILE) pyproject.toml --extra build --extra dev --extra postgresql -o requirements.lock
	$(COMPILE) pyproject.toml --extra build -c requirements.lock -o requirements-runtime.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["embedded"], sep="\n")' \
		| $(COMPILE) - -o requirements-embedded.lock

clean:  ## Remove what the other targets made, the virtual environment included
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .sms-pipeline dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

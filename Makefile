# make demo   make a virtual environment, install, run the demo
# make test   install what the tests need, run them
# make help   the rest

VENV := .venv
BIN := $(VENV)/bin
KILLS ?= 1000
DHTS ?= kad chord

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types contracts check kill-test daemon-kill-test protos sim scenarios-kad scenarios-chord compare mutations model wheel-test lowest-test interop interop-kad bench kad-bench microbench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# A python3 on PATH may be too old, or a shim that answers only for some versions: try them by running them.
$(BIN)/python:
	@for python in $$PYTHON python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    $$python -m venv $(VENV) && exit 0; \
	  fi; \
	done; echo "PeerStack needs Python 3.11 or newer with venv; none of python3.13, python3.12, python3.11, python3 is" >&2; exit 1

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --editable ".[daemon]"
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.figures: $(VENV)/.tested
	@$(BIN)/python -m pip install --quiet --group figures
	@touch $@

install: $(VENV)/.installed ## Install into .venv, so that .venv/bin/peerstack is there

demo: $(VENV)/.installed ## Seven daemons on this machine: put, get, a node dies, another leaves
	@$(BIN)/peerstack demo

test: $(VENV)/.tested ## Run the tests, on all cores
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

lint: $(VENV)/.tested ## Check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.tested ## Check types, strictly, tests included
	@$(BIN)/mypy

contracts: $(VENV)/.tested ## Check which package imports which
	@$(BIN)/lint-imports

kill-test: $(VENV)/.tested ## Kill a process that writes to a store 1,000 times (KILLS=...), and look for what it acknowledged
	@PEERSTACK_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/integration/test_store_kill.py

daemon-kill-test: $(VENV)/.tested ## Kill one daemon after the other for two minutes while a client writes and reads, once for each DHT
	@$(BIN)/python -m tests.integration.rolling_kills $(DHTS)

check: lint types contracts test ## All of the above

# The longest first: churn takes a third of all.
SIMULATIONS := figure-churn scenarios-kad scenarios-chord \
  $(addprefix figure-,chord-churn chord-values compare disjoint chord-failures scale chord-paths chord-load)

sim: $(VENV)/.figures ## Play the scenarios larger, with more seeds; measure and draw the figures of docs/reference/simulation.md. Two at a time
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(SIMULATIONS)
	@$(BIN)/python -m tests.sim figures

scenarios-kad: $(VENV)/.tested
	@$(BIN)/python -m tests.sim --seeds 4 --times 2

scenarios-chord: $(VENV)/.tested
	@$(BIN)/python -m tests.sim --seeds 4 --dht chord

figure-%: $(VENV)/.figures
	@$(BIN)/python -m tests.sim $* >$(VENV)/$*.json && mv $(VENV)/$*.json docs/figures/$*.json

compare: $(VENV)/.figures ## Measure Kademlia and Chord side by side; draw, and fill in docs/guides/choosing-a-dht.md
	@$(BIN)/python -m tests.sim compare >$(VENV)/compare.json && mv $(VENV)/compare.json docs/figures/compare.json
	@$(BIN)/python -m tests.sim figures compare

mutations: $(VENV)/.tested ## Put known defects back and see which scenario catches each
	@$(BIN)/python -m tests.sim.mutations

model: $(VENV)/.tested ## Have spin, a model checker, look for what breaks the Chord ring (MODEL=--quick takes a minute)
	@$(BIN)/python -m tests.model $(MODEL)

protos: ## Regenerate the protobuf modules (CHECK=--check compares instead)
	@.ci/protos $(CHECK)

wheel-test: $(VENV)/.tested ## Build the wheel, install it into a clean environment, look at what it brings
	@$(BIN)/python -m pytest tests/packaging

lowest-test: $(VENV)/.tested ## Run the tests against the oldest dependencies allowed
	@$(BIN)/python .ci/lowest.py

interop: $(VENV)/.installed ## Talk to go-, rust-, js- and py-libp2p, both ways
	@$(BIN)/python -m interop ping

interop-kad: $(VENV)/.installed ## One DHT of any three of the five stacks, in all 125 combinations
	@$(BIN)/python -m interop kad --all

bench: $(VENV)/.installed ## Measure, beside the other stacks
	@$(BIN)/python -m interop bench

kad-bench: $(VENV)/.installed ## Measure put and get, beside other DHTs
	@$(BIN)/python -m interop kad-bench

microbench: $(VENV)/.installed ## CPU per operation in memory
	@$(BIN)/python -m interop microbench

clean: ## Remove what was built here
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

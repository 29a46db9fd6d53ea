# ModelWard's make targets. Everything that a target needs it installs itself; caches live outside the clone.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
export HOME := $(or $(HOME),$(shell getent passwd $$(id -u) | cut -d: -f6))
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin
export PYTHONPYCACHEPREFIX ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/modelward/pycache

EMBEDDED := python3 e2e/cluster
PYTEST := uv run pytest
REPORTS := .reports
SUITE ?= core
REQUESTS ?= 100000

.PHONY: help setup lock check test integration e2e up down demo bench generate golden images

help: ## Show this list
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.done ## Install uv when missing, and the pinned tools and packages into .venv

.venv/.done: requirements.lock operator/pyproject.toml runtime/pyproject.toml
	@.ci/setup

lock: ## Pin versions and hashes anew: requirements.lock (tools and tests), operator/ and runtime/requirements.lock (the images)
	@.ci/lock

check: setup ## The quick ring: format, lint, types, walls, unit, properties, golden, contract, generated files fresh
	uv run ruff format --check .
	uv run ruff check .
	uv run mypy operator/src runtime/src e2e helm tests
	uv run lint-imports
	$(PYTEST) -q -n 2 --dist loadfile -m "not process" tests/unit tests/properties tests/golden tests/contract --junitxml=$(REPORTS)/check.xml

integration: setup ## The real serving process; a real API server and etcd, object store and registry: schema, apply, prune, lease, fetch
	$(EMBEDDED) packages
	$(EMBEDDED) build etcd kube-apiserver kube-controller-manager kubectl helm versitygw registry ghz vegeta glua actionlint
	$(PYTEST) -q -n 2 --dist loadfile -m process tests/contract --junitxml=$(REPORTS)/process.xml
	$(PYTEST) -q -n 2 --dist loadfile tests/integration --junitxml=$(REPORTS)/integration.xml

# Properties are tried by the same examples in every run (tests/conftest.py): chance stops no change.
test: export CI ?= 1
test: check integration ## Every ring that a change must pass, from a bare machine; ends with the core e2e cases on the embedded cluster
	$(MAKE) e2e SUITE=core

e2e: $(if $(filter chaos,$(SUITE)),setup,up) ## End to end on the embedded cluster: SUITE=core|cases|keys|scaling|exposure|gitops|faults|upgrade|machine|chaos|all
	.ci/e2e $(SUITE)

up: setup ## The embedded Kubernetes cluster with the operator installed; CLUSTER=current OPERATOR_IMAGE=… RUNTIME_IMAGE=…: on your own
	$(EMBEDDED) up

down: ## Remove the embedded cluster without a trace; CLUSTER=current: the operator from your own
	$(EMBEDDED) down

demo: up ## From a bare machine to predictions from a ModelDeployment on a real cluster
	uv run python -m e2e.demo

bench: $(if $(filter apply core scaling,$(SUITE)),up,setup) ## Benchmarks: SUITE=apply|scaling on the cluster, access|activator|decisions|limits|operator|policy|sealed|serving|soak|sources without; options: e2e/bench, e2e/soak
	$(if $(filter scaling,$(SUITE)),$(EMBEDDED) build metrics-server keda-operator keda-adapter)
	uv run python -m $(if $(filter soak,$(SUITE)),e2e.soak --requests $(REQUESTS),e2e.bench $(if $(filter core,$(SUITE)),apply,$(SUITE)))

generate: setup ## CRDs, field reference and gRPC stubs from their one source
	.ci/generate

golden: setup ## Rewrite the golden files; read the diff
	$(PYTEST) tests/golden --golden=write

images: setup ## Build the operator's and the runtime's image with buildah; PLATFORMS=linux/amd64,linux/arm64: for both, as a manifest list
	$(EMBEDDED) images $(if $(PLATFORMS),--platform $(PLATFORMS))

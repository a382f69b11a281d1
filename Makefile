# Every target does all its own set-up: Python >= 3.11, make, g++ and perl are all it needs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
PEERS := .venv/.installed-peers

.PHONY: install demo test test-all bench lint clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/mixdit demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m "not heavy"

$(PEERS): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers-heavy]'
	touch $@

test-all: $(PEERS)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

bench: $(PEERS)
	$(BIN)/python -m bench

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build/[!R]* .pytest_cache .ruff_cache .mypy_cache .hypothesis

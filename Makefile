# `make run` and `make test` set up what they need; a second call finds it done.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: run test lint bench crash slow clean
run: $(STAMP)
	$(BIN)/gristmill demo --out demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

crash: $(STAMP)
	$(BIN)/python -m pytest -m crash

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	for bench in $$(grep -l __main__ benchmarks/*.py); do $(BIN)/python $$bench --quick --json || exit 1; done

# The stamp carries a checksum of what is installed: it is made anew when that changes, and only then.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info

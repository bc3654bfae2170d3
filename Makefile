# `make run` and `make test` set up what they need; a second call finds it done.
# Any Python from 3.11 to 3.14: `python3` if it is one, else the newest beside it; `make PYTHON=...` names another.
SUITS  := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python3.14,\
	$(shell $(name) -c "$(SUITS)" 2>/dev/null && echo $(name))))
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: run test lint bench crash slow clean
run: $(STAMP)
	$(BIN)/gristmill demo --out demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

crash: $(STAMP)
	$(BIN)/python -m pytest -m crash

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pytest -m slow tests/test_benches_run.py

# The stamp carries a checksum of what is installed: it is made anew when that changes, and only then.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Gristmill needs Python 3.11 to 3.14 with venv; python3 here is $$(python3 --version 2>&1)."; \
		echo "Install one (apt install python3-venv, brew install python, uv python install 3.13), then: make PYTHON=python3.13"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info

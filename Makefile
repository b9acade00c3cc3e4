# `make demo` and `make test` do everything on a fresh machine that has Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-gpu lint clean

demo: $(VENV)/.installed-demo
	$(BIN)/semiseg demo --output demo-output

# Two processes, as in use: what stands for Slicer never has torch in it.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow and not gpu" Testing/lib
	$(BIN)/python -m pytest -m "not slow and not gpu" Testing/host Testing/bridge Testing/panel

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow Testing/lib
	$(BIN)/python -m pytest -m slow Testing/panel

test-gpu: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m gpu Testing/lib

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy SemiSegLib

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[cli]"
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[cli,test,host]"
	touch $@ $(VENV)/.installed-demo

clean:
	rm -rf $(VENV) demo-output

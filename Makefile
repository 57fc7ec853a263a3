# Two targets for a fresh Linux machine with Python 3.11 or newer; each makes its own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

$(BIN)/diffclip-geo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@

demo: $(BIN)/diffclip-geo
	$(BIN)/diffclip-geo demo --overwrite

test: $(BIN)/diffclip-geo
	$(BIN)/python -m pytest

lint: $(BIN)/diffclip-geo
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) diffclip-demo diffclip-work

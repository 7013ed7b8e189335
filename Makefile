# `make demo` shows the whole story against a stand-in API; `make test` runs every check.
# Both set themselves up in .venv; a second run finds it ready.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint format clean

demo: $(STAMP)
	$(BIN)/harvester demo

test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2

# Kills and errors at every single write and fsync, and at 200 moments; takes about an hour.
.PHONY: crash
crash: $(STAMP)
	CRASH_POINTS=1000 CRASH_MOMENTS=200 $(BIN)/pytest -s tests/faults/test_crashes.py tests/faults/test_disk_errors.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# --group needs pip 25.1, newer than the one that some Pythons bring along.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev
	touch $(STAMP)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

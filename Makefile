# `make demo` shows the whole story against a stand-in API; `make test` runs every check.
# Both set themselves up in .venv; a second run finds it ready.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all chaos crash bench fuzz audit format clean

demo: $(STAMP)
	$(BIN)/harvester demo

test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	# Twice as many as cores: half the time a test waits for the processes that it started.
	$(BIN)/pytest -n 4 --dist worksteal

# Also what takes long.
test-all: export TEST_ALL := 1
test-all: test

# Every fault, kills and restarts at once; the seed that it prints repeats a run.
chaos: $(STAMP)
	$(BIN)/python -m bench.chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),5)

# Kills and errors at every single write and fsync, and at 200 moments; takes about an hour.
crash: $(STAMP)
	CRASH_POINTS=1000 CRASH_MOMENTS=200 $(BIN)/pytest -s tests/faults/test_crashes.py tests/faults/test_disk_errors.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python bench/run_all.py

# Bytes against the decoder for so long; what is found lands in .fuzz. atheris does not build everywhere.
SECONDS ?= 60
fuzz: .fuzz/venv/.installed
	.fuzz/venv/bin/python -m bench.fuzz_decoding --seconds $(SECONDS)

# --strict: a version that the index knows no advisories for is a failure, not a clean bill of health.
audit: .audit/venv/.installed
	.audit/venv/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

.%/venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .$*/venv
	.$*/venv/bin/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	.$*/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(if $(filter fuzz,$*),-e .) --group $*
	touch $@

# --group needs pip 25.1, newer than the one that some Pythons bring along.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev
	touch $(STAMP)

clean:
	rm -rf $(VENV) .fuzz .audit .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

# `make demo` shows the whole story against a stand-in API; `make test` runs every check, `make test-all` the long ones too.
# All set themselves up in .venv; a second run finds it ready.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# More than cores: a part of the time a test waits for the processes that it started.
PYTEST := pytest -n 3 --dist worksteal
# Without compiled modules, each process that a test starts compiles the program again.
unexport PYTHONDONTWRITEBYTECODE
# The Pythons besides $(PYTHON) under which `make test-all` runs the tests without whole harvests, where they are installed.
OTHER_PYTHONS ?= 3.12 3.13 3.14
# They run at the same time; where make can, the output of one comes after that of the other.
IN_TURN := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: demo man dist test test-all test-long $(OTHER_PYTHONS:%=test-python%) chaos crash bench fuzz audit format clean

demo: $(STAMP)
	$(BIN)/harvester demo

test: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/$(PYTEST)

test-all: test test-long

# Only what `make test-all` adds: cases that go the same way as another one, every kill point, more examples of each
# property, other Pythons.
test-long: $(STAMP)
	TEST_ALL=1 $(BIN)/$(PYTEST) -m "thorough or hypothesis"
	$(MAKE) --no-print-directory --jobs=$(words $(OTHER_PYTHONS)) $(IN_TURN) $(OTHER_PYTHONS:%=test-python%)

# A Python by its version, as it is found: on the path, or installed by pyenv. Empty without it or its venv module.
found = $(shell for one in python$(1) "$$(pyenv prefix $(1) 2>&1)/bin/python$(1)"; do \
  "$$one" -c 'import ensurepip' 2>/dev/null && echo "$$one" && break; done)

$(OTHER_PYTHONS:%=test-python%): test-python%:
	@if [ -z "$(call found,$*)" ]; then \
	  echo "Python $* with its venv module is not installed: the tests are not run under it."; \
	else \
	  $(MAKE) --no-print-directory .python$*/venv/.installed && \
	  .python$*/venv/bin/$(PYTEST) tests/unit tests/conformance; \
	fi

# Every fault, kills and restarts at once; the seed that it prints repeats a run.
chaos: $(STAMP)
	$(BIN)/python -m bench.chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),5)

# Kills and errors at every single write and fsync, and at 200 moments; takes about an hour.
crash: $(STAMP)
	TEST_ALL=1 CRASH_POINTS=1000 CRASH_MOMENTS=200 $(BIN)/pytest -s tests/faults/test_crashes.py tests/faults/test_disk_errors.py

# The help of every command on one page, which the wheel installs.
man: $(STAMP)
	$(BIN)/python -m harvester.cli.man_page > docs/harvester.1.new
	mv docs/harvester.1.new docs/harvester.1

# The source archive, and from it the wheel, with what the environment has: no network is needed.
dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

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

# By the pip of the first environment: it is new enough, and need not be installed again.
.python%/venv/.installed: $(STAMP) pyproject.toml constraints.txt
	$(call found,$*) -m venv --without-pip .python$*/venv
	$(BIN)/python -m pip --python .python$*/venv/bin/python install --quiet --disable-pip-version-check -c constraints.txt -e . --group test
	touch $@

# --group needs pip 25.1, newer than the one that some Pythons bring along.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . --group dev
	touch $(STAMP)

clean:
	rm -rf $(VENV) .python* .fuzz .audit .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

# Each target sets up what it needs into .venv; scripts/system-packages says which
# Debian package it installs, where one is missing.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := drivers edge_agent firmware_sim gateway protocols tests bench scripts

.PHONY: demo test check bench fuzz docs clean

demo: .venv/.installed ## Show the whole way of a reading; ARGS=--once exits by itself.
	@./scripts/system-packages dbus-daemon=dbus
	@$(BIN)/vitalwire demo $(ARGS)

test: check ## Everything that must hold: style, types, architecture, tests.

check: .venv/.installed
	@./scripts/system-packages dbus-daemon=dbus mosquitto=mosquitto chromium=chromium
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/reference.py --check
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage report
	@$(BIN)/coverage report --include='protocols/*,drivers/*' --fail-under=99 --format=total

bench: .venv/.installed ## Measure download, uplink and every driver.
	@./scripts/system-packages dbus-daemon=dbus
	$(BIN)/python bench/whole_way.py
	$(BIN)/python bench/each_driver.py

fuzz: .venv/.installed ## Feed every decoder a million changed inputs; ARGS=--only KIND.
	$(BIN)/python scripts/fuzz.py $(ARGS)

docs: .venv/.installed ## Write the generated pages of docs/reference anew.
	$(BIN)/python scripts/reference.py

clean: ## Remove the environment and the demo's state.
	rm -rf .venv data/demo

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vitalwire needs Python 3.11 or newer; try make PYTHON=python3.12" >&2; exit 1; }
	@PYTHON=$(PYTHON) ./scripts/system-packages python-venv=python3-venv
	@echo "setting up .venv (about a minute) ..." >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
		|| { rm -rf .venv && $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

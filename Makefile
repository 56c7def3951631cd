# Each target sets up what it needs into .venv; scripts/system-packages says which
# Debian package it installs, where one is missing.

PYTHON ?= python3
BIN := .venv/bin
EMULATED := .venv/foreign/arm64/python
# Kernels and codecs alone need neither a device nor a plug-in of pytest.
BARE := -q -c /dev/null --rootdir . --noconftest --import-mode=importlib -p no:cacheprovider
KERNEL_TESTS := tests/protocols/test_kernel.py tests/kernels tests/protocols/uplink
A_FEW := tests/protocols/test_kernel.py tests/protocols/uplink/test_series_golden.py
TESTS := $(BIN)/python -m pytest -q --numprocesses=auto --dist=worksteal
SERVERS := dbus-daemon=dbus mosquitto=mosquitto chromium=chromium postgres=postgresql
SOURCES := drivers edge_agent firmware_sim gateway protocols tests bench scripts

.PHONY: demo test check coverage bench scale drill fuzz nojit aarch64 docs clean

demo: .venv/.installed ## Show the whole way of a reading; ARGS=--once exits by itself.
	@./scripts/system-packages dbus-daemon=dbus
	@$(BIN)/vitalwire demo $(ARGS)

test: check ## Everything that must hold: style, types, architecture, tests.

check: .venv/.installed
	@./scripts/system-packages $(SERVERS)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/reference.py --check
	$(TESTS) --ignore=tests/drivers
	$(TESTS) --cov=drivers --cov-report= tests/drivers
	@$(BIN)/coverage report --fail-under=99 --format=total
	@$(MAKE) --no-print-directory nojit KERNEL_TESTS='$(A_FEW)'

coverage: .venv/.installed ## Tell what no test runs; it takes twice as long as they do.
	@./scripts/system-packages $(SERVERS)
	$(TESTS) --cov --cov-report=
	$(BIN)/coverage report
	@$(BIN)/coverage report --include='protocols/*,drivers/*' --fail-under=99 --format=total

bench: .venv/.installed ## Measure download, uplink, every driver, a backlog of 10^6.
	@./scripts/system-packages dbus-daemon=dbus mosquitto=mosquitto postgres=postgresql
	$(BIN)/python bench/whole_way.py
	$(BIN)/python bench/each_driver.py
	$(BIN)/python bench/small_board.py
	$(BIN)/python bench/backlog.py

scale: .venv/.installed ## Kill gateways, brokers and agents, silence Bluetooth, fill pages.
	@./scripts/system-packages dbus-daemon=dbus mosquitto=mosquitto postgres=postgresql
	$(BIN)/python -m pytest -q -m scale tests

drill: .venv/.installed ## Back up a store under load, destroy it, restore it.
	@./scripts/system-packages postgres=postgresql
	$(BIN)/python -m pytest -q tests/gateway/test_backup.py

fuzz: .venv/.installed ## Feed every decoder a million changed inputs; ARGS=--only KIND.
	$(BIN)/python scripts/fuzz.py $(ARGS)

nojit: .venv/.installed ## Run the kernels' tests on plain forms: compiler off, no numba.
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q $(KERNEL_TESTS)
	@mkdir -p .venv/no-numba
	@echo "raise ImportError('hidden by make nojit')" >.venv/no-numba/numba.py
	PYTHONPATH=$(CURDIR)/.venv/no-numba $(BIN)/python -m pytest -q $(KERNEL_TESTS)

aarch64: .venv/.installed ## Run them on an emulated ARM: the same bytes, plain and compiled.
	@./scripts/system-packages qemu-aarch64-static=qemu-user-static
	@./scripts/foreign-root arm64 .venv/foreign/arm64
	NUMBA_DISABLE_JIT=1 $(EMULATED) -m pytest $(BARE) $(KERNEL_TESTS)
	$(EMULATED) -m pytest $(BARE) $(KERNEL_TESTS)

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

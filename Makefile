# Everything a newcomer needs; each target does its own set-up, from pinned versions with hashes.
#   make demo   the whole job on what is shipped, offline: leaves demo/report.html
#   make test   all tests        make check   format, lint, types, import contract        make docs   the site, in dist/docs

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/.ready

.PHONY: demo test check format docs wheel wheel-check lock browser axe azurite runtime clean

demo: $(READY)
	$(BIN)/regard demo --out demo --overwrite

# Files of tests are dealt out to processes of one thread each: torch's own threads wait for each other most of the time.
test: $(READY) browser axe azurite runtime
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(TESTS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python tools/llms.py

# Warnings are errors. The tests build it, too.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "dist/docs/index.html"

# What is released: the sdist, and the wheel that it builds. wheel-check installs that alone and runs the demo there.
wheel: $(READY)
	@rm -f dist/regard-*
	$(BIN)/python tools/wheel.py

wheel-check: wheel
	$(BIN)/python bench/wheel.py dist/regard-*.whl

# Compiled once here: where Python may not write bytecode, importing torch would take four times as long every time.
LOCKED := $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --requirement requirements.lock

# Made anew only when the pinned versions change.
$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("regard needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % v)'
	@echo "Setting up $(VENV) from the pinned versions (some minutes the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@export VIRTUAL_ENV=$(VENV); $(LOCKED) || $(LOCKED) --system-certs
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src
	@touch $(READY)

# Browser tests use Debian's chromium; without any browser they are skipped and say so.
browser: $(READY)
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
	  || $(BIN)/playwright install chromium \
	  || echo "no browser could be found or installed: the browser tests will be skipped"

# axe-core judges in tests whether pages can be used by everybody: the pinned version, whose hash npm checks.
AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js
axe: $(AXE)
$(AXE): tests/support/axe/package-lock.json $(READY)
	@mkdir -p $(VENV)/axe && cp tests/support/axe/*.json $(VENV)/axe && rm -f $(AXE)
	@command -v npm >/dev/null 2>&1 && (cd $(VENV)/axe && npm ci --ignore-scripts --no-audit --no-fund --silent) && touch $(AXE) \
	  || echo "axe-core could not be fetched (it needs npm): the tests that use it will be skipped"

# azurite is a real object store on this machine: the pinned version, and all that it needs, whose hashes npm checks.
AZURITE := $(VENV)/azurite/node_modules/azurite/dist/src/blob/main.js
azurite: $(AZURITE)
$(AZURITE): tests/support/azurite/package-lock.json $(READY)
	@mkdir -p $(VENV)/azurite && cp tests/support/azurite/*.json $(VENV)/azurite && rm -f $(AZURITE)
	@command -v npm >/dev/null 2>&1 && (cd $(VENV)/azurite && npm ci --ignore-scripts --no-audit --no-fund --silent) && touch $(AZURITE) \
	  || echo "azurite could not be fetched (it needs npm): the tests that need an object store will be skipped"

# onnxruntime-web runs the network of a live page (`regard export --to web`): the pinned version, whose hash npm checks.
RUNTIME := $(VENV)/onnxruntime_web/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs
runtime: $(RUNTIME)
$(RUNTIME): tests/support/onnxruntime_web/package-lock.json $(READY)
	@mkdir -p $(VENV)/onnxruntime_web && cp tests/support/onnxruntime_web/*.json $(VENV)/onnxruntime_web && rm -f $(RUNTIME)
	@command -v npm >/dev/null 2>&1 && (cd $(VENV)/onnxruntime_web && npm ci --ignore-scripts --no-audit --no-fund --silent) && touch $(RUNTIME) \
	  || echo "onnxruntime-web could not be fetched (it needs npm): the tests of live pages will be skipped"

# After a change of pyproject.toml: pin everything again (names, versions and hashes; no addresses); of that, what the container
# runs and is built with.
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links
CONTAINER := --extra dicom --extra heic --extra lora --extra onnx --extra serve --extra stores --extra words --group build
lock:
	$(BIN)/uv $(LOCK) pyproject.toml --group dev --output-file requirements.lock
	$(BIN)/uv $(LOCK) pyproject.toml $(CONTAINER) --constraint requirements.lock --output-file requirements-run.lock

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

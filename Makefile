# make demo | test | lint: each starts from nothing but python3 and make, and may be run again at any time.
PYTHON ?= python3
VENV ?= .venv
INTEROP_VENV ?= .venv-interop
# Shorter demo: make demo DEMO_ITERS=100
DEMO_ITERS ?=
PYTEST_ARGS ?=

PACKAGE := setup.py pyproject.toml
READY := $(VENV)/.ready
INTEROP_READY := $(INTEROP_VENV)/.ready

.PHONY: install demo test test-interop lint format
.DEFAULT_GOAL := install

install: $(READY)

$(READY): requirements/lock.txt $(PACKAGE)
	$(call make_venv,$(VENV),requirements/lock.txt)

$(INTEROP_READY): requirements/interop.txt $(PACKAGE)
	$(call make_venv,$(INTEROP_VENV),requirements/interop.txt)

# $(1): folder, $(2): lock file. The stamp comes last, so that an interrupted install is done again.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mmirstd needs Python 3.10 or newer: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install -r $(2)
	$(1)/bin/python -m pip install --no-deps --no-build-isolation -e .
	@touch $(1)/.ready
endef

demo: $(READY)
	$(VENV)/bin/python tools/demo.py $(if $(DEMO_ITERS),--iters $(DEMO_ITERS))

test: $(READY)
	$(VENV)/bin/python -m pytest tests --ignore=tests/interop \
		--cov=mmirstd --cov-report=term:skip-covered --cov-fail-under=90 $(PYTEST_ARGS)

# Tests against timm, segment-anything, mmpretrain and safetensors; torchvision needs another torch.
test-interop: $(INTEROP_READY)
	$(INTEROP_VENV)/bin/python -m pytest tests/interop tests/utils/test_checkpoint.py $(PYTEST_ARGS)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(READY)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

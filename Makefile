# make app | demo | demo-full | test | test-app | test-all | test-interop | test-openmmlab | test-wheel | lint: each starts from
# nothing but python3 and make (test-openmmlab: and a C++ compiler), and may be run again at any time. CONTRIBUTING.md says what
# each does.
PYTHON ?= python3
VENV ?= .venv
INTEROP_VENV ?= .venv-interop
OPENMMLAB_VENV ?= .venv-openmmlab
DOCS_VENV ?= .venv-docs
APP_VENV ?= .venv-app
# mmcv's ops, which mmseg imports and nothing here runs: for the CPU and not optimized, to compile in minutes.
MMCV_CFLAGS ?= -O0 -g0
MAX_JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
# Another length of the demo's training: make demo DEMO_ITERS=100
DEMO_ITERS ?=
APP_ARGS ?=
PYTEST_ARGS ?=
# One worker a core; each starts with a stretch of the tests and takes over from the others when it is through.
PARALLEL ?= -n auto --dist worksteal
DURATIONS ?= --durations=25 --durations-min=1

PACKAGE := setup.py pyproject.toml
READY := $(VENV)/.ready
INTEROP_READY := $(INTEROP_VENV)/.ready
OPENMMLAB_READY := $(OPENMMLAB_VENV)/.ready
DOCS_READY := $(DOCS_VENV)/.ready
APP_READY := $(APP_VENV)/.ready

.PHONY: install app demo demo-full test test-app test-all test-interop test-openmmlab test-wheel lint format layers docs perturbation exports results
.DEFAULT_GOAL := install

install: $(READY)

$(READY): requirements/lock.txt $(PACKAGE)
	$(call make_venv,$(VENV),requirements/lock.txt)

$(INTEROP_READY): requirements/interop.txt $(PACKAGE)
	$(call make_venv,$(INTEROP_VENV),requirements/interop.txt)

# mmcv comes as source. Its ops are compiled first, and again when they do not fit the torch that is there; they are not
# cached, since pip would install them anywhere else too.
MMCV := $(shell grep '^mmcv==' requirements/openmmlab.txt)

$(OPENMMLAB_READY): requirements/openmmlab.txt $(PACKAGE)
	$(check_python)
	$(PYTHON) -m venv $(OPENMMLAB_VENV)
	$(OPENMMLAB_VENV)/bin/python -m pip install -c requirements/openmmlab.txt torch setuptools ninja
	$(OPENMMLAB_VENV)/bin/python -c 'import torch, mmcv._ext; assert mmcv.__version__ == "$(subst mmcv==,,$(MMCV))"' 2>/dev/null || \
		env MMCV_WITH_OPS=1 CUDA_VISIBLE_DEVICES= CFLAGS='$(MMCV_CFLAGS)' CXXFLAGS='$(MMCV_CFLAGS)' MAX_JOBS=$(MAX_JOBS) \
		PATH="$(abspath $(OPENMMLAB_VENV))/bin:$$PATH" \
		$(OPENMMLAB_VENV)/bin/python -m pip install --no-deps --force-reinstall --no-cache-dir --no-build-isolation $(MMCV)
	$(call make_venv,$(OPENMMLAB_VENV),requirements/openmmlab.txt)

define check_python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mmirstd needs Python 3.10 or newer: make PYTHON=python3.x")'
endef

# $(1): folder, $(2): lock file. The stamp comes last, so that an interrupted install is done again.
define make_venv
	$(check_python)
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install -r $(2)
	$(1)/bin/python -m pip install --no-deps --no-build-isolation -e .
	@touch $(1)/.ready
endef

demo: $(READY)
	$(VENV)/bin/python tools/demo.py $(if $(DEMO_ITERS),--iters $(DEMO_ITERS))

# The same with the training that the config says, a quarter of an hour.
demo-full: $(READY)
	$(VENV)/bin/python tools/demo.py --full

test: $(READY)
	$(VENV)/bin/python -m pytest tests --ignore=tests/interop $(PARALLEL) $(DURATIONS) \
		--cov=mmirstd --cov-report=term:skip-covered --cov-fail-under=90 $(PYTEST_ARGS)

# Every test, also the long ones; the log is committed.
test-all: $(READY) $(INTEROP_READY)
	PYTHON=$(VENV)/bin/python INTEROP_PYTHON=$(INTEROP_VENV)/bin/python .ci/full-run $(PARALLEL) $(DURATIONS) $(PYTEST_ARGS)

# The wheel as a user has it, in an environment of its own outside the repository.
test-wheel:
	$(check_python)
	PYTHON=$(PYTHON) .ci/wheel

# Tests against timm, segment-anything, mmpretrain and safetensors; torchvision needs another torch.
test-interop: $(INTEROP_READY)
	$(INTEROP_VENV)/bin/python -m pytest tests/interop tests/checkpoints/test_loading.py $(PARALLEL) $(DURATIONS) $(PYTEST_ARGS)

# The table of how much each part of each config moves the logits: docs/results/perturbation.md.
perturbation: $(READY)
	$(VENV)/bin/python tests/configs/perturbation_table.py

# The table of which configs export: docs/results/export.md.
exports: $(READY)
	$(VENV)/bin/python tests/configs/export_table.py

# The page in the browser. Its Gradio does not go with the pillow of requirements/lock.txt. make app APP_ARGS='--port 8000'
app: $(APP_READY)
	$(APP_VENV)/bin/python -m mmirstd app $(APP_ARGS)

# The page's tests, with a click-through where there is a Chromium (MMIRSTD_CHROMIUM, or on the PATH).
test-app: $(APP_READY)
	$(APP_VENV)/bin/python -m pytest tests/app $(PYTEST_ARGS)

$(APP_READY): requirements/app.txt $(PACKAGE)
	$(call make_venv,$(APP_VENV),requirements/app.txt)

# The tables and pictures of the results pages, and the metrics of the metafiles, from docs/results/records.
results: $(READY)
	$(VENV)/bin/python -m mmirstd reproduce --pages docs/results --pictures docs/pictures --metafiles configs

# The same tests on the original packages; see docs/get-started/install.md.
test-openmmlab: $(OPENMMLAB_READY)
	$(OPENMMLAB_VENV)/bin/python -m pytest tests --ignore=tests/interop $(PARALLEL) $(DURATIONS) $(PYTEST_ARGS)

# The site, in site/ (Python 3.11 or newer). A broken link or an unknown argument in a docstring is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/python -m mkdocs build --strict --clean

$(DOCS_READY): requirements/docs.txt
	$(check_python)
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install -r $<
	@touch $@

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python .ci/layers.py --check

# Draws the layers in CONTRIBUTING.md again.
layers: $(READY)
	$(VENV)/bin/python .ci/layers.py

format: $(READY)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

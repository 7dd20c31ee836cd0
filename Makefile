# make book | lab | test | lint | clean | help. All they need is Python >= 3.11, make and a package index.

EXPERIMENT ?= embedded
PYTHON ?= python3
CORES ?=
# Names reach a shell through its variables alone: what is in them is never run.
override EXPERIMENT := $(value EXPERIMENT)
override CORES := $(value CORES)
export EXPERIMENT CORES

VENV := .venv
BIN := $(VENV)/bin
# Changes of either file are what makes an installation stale.
STAMP := $(VENV)/.installed

# One thread a job, one job a core: two two-threaded jobs on two cores run six times slower.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
export PYTHONHASHSEED := 0
# Kept byte code, whatever the shell has: a book or the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# A notebook started by papermill must find this environment's kernel, whatever the shell has.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install book scores lab test bench lint format lock check-book clean distclean

help: ## Show this list
	@echo "make <what> [EXPERIMENT=embedded|quick|mt5] [CORES=n] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

install: $(STAMP) ## Make .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  "Python %d.%d is too old: 3.11 or newer is needed. Try: make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing what constraints.txt names into $(VENV) (about 2.5 GB, a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[all]'
	@touch $@

book: $(STAMP) ## Run what is missing of EXPERIMENT and render its book; STUDENT=1: also without solutions
	@$(BIN)/python workflow/make.py $${CORES:+--cores "$$CORES"} -- "$$EXPERIMENT" book
	@test -z "$$STUDENT" || $(BIN)/python workflow/render.py "$$EXPERIMENT" --student

scores: $(STAMP) ## Only the scores and pairs tables of EXPERIMENT
	@$(BIN)/python workflow/make.py $${CORES:+--cores "$$CORES"} -- "$$EXPERIMENT" scores

lab: $(STAMP) ## Run the laboratory, or LABS="01 05" of it, and keep its results with the book
	@$(BIN)/python workflow/lab.py $${CORES:+--cores "$$CORES"} -- $$LABS

test: $(STAMP) ## The whole test suite, one worker a core
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(STAMP) ## Time training and answering beside transformers' Trainer, in pairs (an hour); makes book/speed.csv
	@$(BIN)/python benchmarks/speed.py --out build/speed.jsonl
	@$(BIN)/python benchmarks/speed.py --table build/speed.jsonl --out book/speed.csv
	@$(BIN)/python benchmarks/speed.py --scaling --out book/speed_scaling.csv
	@$(BIN)/python benchmarks/speed.py --figure book/speed.csv book/speed_scaling.csv --out book/speed.svg

lint: $(STAMP) ## ruff on code and notebooks, no outputs in notebooks, types of xltlib, advisories
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(wildcard notebooks/*.ipynb),$(BIN)/nbstripout --verify notebooks/*.ipynb notebooks/lab/*.ipynb)
	$(BIN)/mypy
	$(BIN)/python workflow/advisories.py

format: $(STAMP) ## Let ruff and nbstripout put things right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(wildcard notebooks/*.ipynb),$(BIN)/nbstripout notebooks/*.ipynb notebooks/lab/*.ipynb)

check-book: $(STAMP) ## Open every built page in Chromium: requests, errors, accessibility
	@$(BIN)/python workflow/browse.py "$${XLT_BUILD:-build}/$$EXPERIMENT/html"

lock: $(STAMP) ## Write constraints.txt and environment.yml from what is installed
	@$(BIN)/python workflow/lock.py

clean: ## Remove everything generated (build/); keep .venv
	rm -rf build .snakemake .pytest_cache .mypy_cache .ruff_cache
	find xltlib workflow tests book -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv as well
	rm -rf $(VENV) *.egg-info

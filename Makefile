# make demo        set up, run the whole workflow on a generated world, print Table 1
# make test        set up, lint, all tests that need no server
# make help        list all targets

SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOCK := envs/lock/dev.txt
INSTALLED := $(VENV)/.installed-$(shell cat $(LOCK) pyproject.toml | sha256sum | cut -c1-12)
DEMO := --configfile config/demo.yaml
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Each job is a process, which would compile all modules of the project again.
export PYTHONDONTWRITEBYTECODE :=
# Snakemake keeps a cache in the home folder, which a user of a service may not have.
export XDG_CACHE_HOME := $(shell test -n "$$XDG_CACHE_HOME" && echo "$$XDG_CACHE_HOME" || \
  { test -w "$$HOME" && echo "$$HOME/.cache" || echo "$(CURDIR)/.snakemake/cache"; })

.DEFAULT_GOAL := help
.PHONY: help setup lock demo snakemake-report missing test fuzz mutate test-experiments test-slurm test-containers containers bench \
  bench-masking bench-stores bench-training bench-scale lint format clean-demo calibrate

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(INSTALLED) ## install the locked packages and the command geoloc into .venv

# Snakemake starts jobs by the path of Python, unquoted.
.PHONY: place
place:
	@case "$$PWD" in *[]\[\ \	\"\'\`\$$\&\;\|\<\>\(\)\*\?\{\}\\\!\#\~]*) \
	  echo "The project is in $$PWD. Snakemake can't start jobs from a folder whose path has spaces," \
	    "quotes or other characters of the shell: move or rename it, then run make setup."; exit 1;; esac

$(INSTALLED): $(LOCK) pyproject.toml | place
	@command -v $(PYTHON) >/dev/null || command -v python3 >/dev/null || \
	  { echo "No Python found. Install Python 3.11, 3.12 or 3.13, or run make PYTHON=/path/to/python"; exit 1; }
	@py=$$(command -v $(PYTHON) || command -v python3); \
	  $$py -c 'import sys; sys.exit(not (3, 11, 4) <= sys.version_info < (3, 14))' || \
	  { echo "$$py is not Python 3.11 (3.11.4 or newer), 3.12 or 3.13, which the packages need." \
	    "Run make PYTHON=/path/to/python3.11"; exit 1; }; \
	  test -x $(BIN)/python || $$py -m venv $(VENV)
	@echo "Installing the packages of $(LOCK) into $(VENV): about 8 GB, a few minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  --editable .
	@rm -f $(VENV)/.installed-*; touch $@

# LOCK_ARGS: for example --upgrade-package numpy, or --upgrade. Versions are kept otherwise.
lock: ## resolve the pins of envs/*.txt into envs/lock/ and envs/*.yaml (needs uv)
	@$(BIN)/python envs/lock.py $(LOCK_ARGS)

demo: setup ## run the whole workflow on a generated world and print Table 1
	@snakemake $(DEMO) --logger geoloc
	@echo; cat results/demo/table1.txt; echo; cat results/demo/verdict.txt; echo; echo "Report: $(CURDIR)/results/demo/report.html"; echo "Images, masks and answers: $(BIN)/geoloc explore results/demo"

# ARGS: options of snakemake for another run, such as --configfile my.yaml. REPORT: the file to write.
REPORT ?= results/demo/snakemake_report.html
snakemake-report: setup ## write Snakemake's own report of the rules and their runs (of the demo)
	@snakemake $(or $(ARGS),$(DEMO)) --report $(REPORT)

# CALIBRATE: options of demo/calibrate.py, for example --worlds none. docs/science.md: how long it takes.
calibrate: setup ## run worlds whose answer is known and print which expectations held (about 50 minutes)
	@python demo/calibrate.py $(CALIBRATE)

# ARGS: options of snakemake, such as --configfile my.yaml, --profile slurm or -n. TARGETS: further
# files to make.
missing: setup ## make only files that do not exist (ARGS="--profile slurm -n")
	@geoloc missing $(TARGETS) -- $(ARGS)

test: setup lint ## lint and run all tests that need no server
	@python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

IMAGES := $(addprefix containers/,geo.sif torch.sif tensorflow.sif)
containers: $(IMAGES) ## build the Apptainer images that are missing or out of date

# BUILD_ARGS: for example --build-arg FROM=python@sha256:… (docs/cluster.md), or
# --build-arg BOOTSTRAP=localimage --build-arg FROM=base.sif
containers/%.sif: containers/%.def envs/lock/%.txt
	@command -v apptainer >/dev/null || { echo "apptainer is not installed; see apptainer.org"; exit 1; }
	@apptainer build --force $(BUILD_ARGS) containers/$*.partial.sif $<
	@mv containers/$*.partial.sif $@

MINUTES ?= 60
SEED ?= 1
fuzz: setup ## test with hostile archives, tables, journals and stores (MINUTES=60 SEED=1)
	@PYTHONPATH=scripts python -m tests.fuzz --minutes $(MINUTES) --seed $(SEED) $(FUZZ)

# MODULES: for example MODULES="weighting keras_models/cnn scripts/train.py". SAMPLE: mutants per module.
JOBS ?= $(shell nproc)
mutate: setup ## change the code one place at a time and list the changes that no test notices
	@python -m tests.mutation --jobs $(JOBS) $(if $(MODULES),--modules $(MODULES)) \
	  $(if $(SAMPLE),--sample $(SAMPLE))

test-experiments: setup ## run every experiment on a tiny world, with small networks (long)
	@TEST_EXPERIMENTS=1 python -m pytest tests/experiments

test-slurm: setup ## run a small world on a real Slurm that the test starts (needs root)
	@python -m tests.slurm.cluster check
	@TEST_SLURM=1 python -m pytest tests/slurm

test-containers: setup containers ## build the Apptainer images and run a small world in them
	@TEST_CONTAINERS=1 python -m pytest tests/containers

BENCHMARKS := bench-masking bench-stores bench-training bench-scale
bench: $(BENCHMARKS) ## run all benchmarks; bench-masking, bench-stores, bench-training or bench-scale for one

$(BENCHMARKS): bench-%: setup
	@python bench/$*.py

lint: setup ## run ruff, snakefmt and snakemake --lint
	@ruff check . && ruff format --check .
	@snakefmt --check Snakefile rules
	@snakemake --lint

format: setup ## format the code
	@ruff check --fix . ; ruff format . ; snakefmt Snakefile rules

clean-demo: ## delete the data and results of the demo and of make calibrate
	rm -rf results/demo resources/demo results/calibrate* resources/calibrate_*

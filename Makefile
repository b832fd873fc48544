# Everything a new user or contributor types. `make demo` and `make test` are the two that matter.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
VENV ?= .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: help venv demo report doctor test test-faults-long test-slurm test-conda lint format schema clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/\t/' | expand -t 22

venv: $(VENV)/.installed ## the environment, from pinned requirements

$(VENV)/.installed: requirements.txt
	@case "$(abspath $(VENV))" in *[\ \&\;\(\)]*) echo "the path of $(VENV) has a blank or a character of the shell, which Snakemake does not quote: make VENV=\$$HOME/mirror-venv" >&2; exit 1;; esac
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "MIRROR needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

demo: venv ## run the workflow on the simulated cohort; the report is results/report.html
	$(SNAKEMAKE)
	@echo "Open results/report.html in a browser."

report: venv ## Snakemake's own report: every figure and table with its provenance
	$(SNAKEMAKE) --report results/snakemake_report.zip

doctor: venv ## what is missing, before hours are spent
	$(SNAKEMAKE) doctor

test: venv ## all tests but the long ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(CORES) --dist loadfile -m "not faults_long"

test-faults-long: venv ## twenty kills at random moments of each stage
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -ra -m faults_long

test-slurm: venv ## a real Slurm on this machine (Debian, root)
	MIRROR_TEST_SLURM=1 $(BIN)/python -m pytest -q -ra tests/slurm

test-conda: demo ## every conda environment is made, and the demo runs in them with the same metrics
	MIRROR_TEST_CONDA=1 $(BIN)/python -m pytest -q -s -ra tests/conda

lint: venv ## formatting, lint, types and the workflow's own lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules workflow/Snakefile
	$(BIN)/snakemake --lint
	$(BIN)/mypy

format: venv ## format everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules workflow/Snakefile

schema: venv ## what is generated: the JSON schema, the reference in config/README.md, faults, environments
	PYTHONPATH=workflow/scripts $(BIN)/python -m mirror.config.generate
	PYTHONPATH=workflow/scripts $(BIN)/python tests/faults/table.py
	PYTHONPATH=workflow/scripts $(BIN)/python tests/support/environments.py

clean: ## remove the results, keep the environment
	find results -mindepth 1 ! -name .gitkeep -delete

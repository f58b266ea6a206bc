# What one does with a checkout. `make demo` and `make test` need nothing before them but Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint docs bench bench-learning bench-physics bench-taggers clean

help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## Install Salt and all that it is developed with into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Salt needs Python 3.11 or newer; name one by make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "cannot make $(VENV); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --prefer-binary -c constraints.txt -e ".[simulate,dev,docs]"
	@touch $@

demo: install ## Simulate jets, train a graph network on them, evaluate it, show its rejection
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh benchmarks/demo.sh

test: install ## Run the tests, but those that take minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-slow: install ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: install ## Check style, types and the floors of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: install ## Measure speed and memory against salt-ml and the machine, on jets of its own or FILE=train.h5 (40 minutes)
	$(BIN)/python benchmarks/compare.py $(if $(FILE),--file $(FILE)) $(ARGS)

bench-learning: install ## Train Salt and salt-ml with several seeds on FILE=train.h5 and compare what they learn (1 to 2 hours)
	$(BIN)/python benchmarks/learning.py --train $(or $(FILE),.bench/jets/train.h5) $(ARGS)

bench-physics: install ## Measure the tagger against a cut on impact parameters (about half an hour on 2 cores)
	$(BIN)/python benchmarks/rejection.py $(ARGS)

bench-taggers: install ## Compare networks with boosted trees on the jets of JETS=folder (an hour or two on one core)
	$(BIN)/python benchmarks/taggers.py --jets $(or $(JETS),.bench/jets) $(ARGS)

clean: ## Remove what make has made, but no training
	rm -rf $(VENV) .bench/venv demo site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

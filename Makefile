# Every target sets up .venv by itself. `make PYTHON=python3.12 test` takes another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO := out/demo
# What Python compiles once serves every command that a demo or a test starts, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
THREE_TIMES_THE_LARGEST = $(BIN)/python -c 'import tomllib; print("%g" % (3 * max(tomllib.load(open("examples/demo.toml", "rb"))["budgets"])))'

# Tests run in so many processes; those of a file stay together, for they share what was trained for them. Files begin
# in the order of tests/conftest.py.
PROCESSES ?= 3
PYTEST = $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=25

.PHONY: demo test test-all lint format docs bench bench-gpu lock clean

demo: $(INSTALLED)
	$(BIN)/sweep run examples/demo.toml --out $(DEMO) --fresh
	$(BIN)/fit $(DEMO) --figures $(DEMO)/figures
	$(BIN)/plan --budget $$($(THREE_TIMES_THE_LARGEST)) --laws $(DEMO)/laws.json --out $(DEMO)/recipe.toml
	@echo
	@echo "observations  $(DEMO)/observations.jsonl"
	@echo "laws          $(DEMO)/laws.json"
	@echo "figures       $(DEMO)/figures/"
	@echo "recipe        $(DEMO)/recipe.toml    train it: $(BIN)/embed train $(DEMO)/recipe.toml"

# All that takes no installed server and no long time: four to eight minutes on two cores.
test: $(INSTALLED)
	$(PYTEST) -m 'not service and not slow'

# Everything. What this machine lacks is said at the end.
test-all: $(INSTALLED)
	$(PYTEST)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/oxlint --deny-warnings  # the page's scripts; rules in .oxlintrc.json

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site of files: open out/docs/site/index.html.
docs: $(INSTALLED)
	$(BIN)/python docs/build.py

bench: $(INSTALLED)
	$(BIN)/pytest tests/benchmarks -s
	@for name in store fit data restart memory page block together sweep training; do \
	echo; echo "== bench_$$name"; $(BIN)/python -W ignore tests/benchmarks/bench_$$name.py || exit 1; done

# What only a GPU shows: losses and restart as on a CPU, its share of the peak, the rates beside the other trainer.
bench-gpu: $(INSTALLED)
	$(BIN)/pytest tests/runner/test_gpu.py tests/runner/model/test_varlen.py -rs
	@mkdir -p out
	$(BIN)/embed bench --on cuda --methods full,lora --out out/gpu.json
	$(BIN)/embed bench --on cuda --methods full,lora --compile --out out/gpu-compiled.json
	$(BIN)/python -W ignore tests/benchmarks/bench_training.py

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@echo "Installing the exact versions of requirements.lock into .venv (a few minutes, about 2 GB)"
	$(BIN)/pip install --disable-pip-version-check --quiet -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	touch $@

# The newest versions that pyproject.toml admits. The CPU build's suffix and the CUDA packages depend on the machine.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --disable-pip-version-check 'torch==2.13.0' -e '.[dev]'
	.venv-lock/bin/pip freeze --all --exclude-editable \
	| sed 's/+cpu$$//' | grep -viE '^(pip|triton|nvidia-.*|cuda-.*)==' > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-lock out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# make demo: install into .venv and check a first chain. make test: lint, types and all tests.
# make fast: the same without the tests marked slow, for the inner loop. make soundness: sweeps with all their cases.
# make transcripts: run every command of README.md and docs/ and write down what it prints. make docs: the manual, in
# docs/_build/html.
# make test-lowest: these with the lowest versions that pyproject.toml takes, in .venv-lowest: 5 GB and 5 minutes. uv reads what it
# wants of torch from UV_TORCH_BACKEND=cpu, where the index of CPU builds can be reached: a tenth of that.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOWEST := .venv-lowest
EXTRAS := plot notebook fast distributed

# Tests start many processes, and a process of pytest compiles every module for itself: let it read what another compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo lint fast test soundness test-lowest test-device test-distributed transcripts docs clean

demo: .venv/installed
	$(BIN)/gradcheck chain "2*x" "z**2+2*z+2" --at x=1

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict gradcheck_cli tests/typed.py

fast: lint
	$(BIN)/pytest -n auto --dist worksteal -m "not slow"

test: lint
	$(BIN)/pytest -n auto --dist worksteal

soundness: .venv/installed-test
	$(BIN)/pytest -n auto --dist worksteal --whole tests/soundness

test-device: .venv/installed-test
	GRADCHECK_TEST_DEVICE=1 $(BIN)/pytest tests/device

test-distributed: .venv/installed-ray
	GRADCHECK_TEST_DISTRIBUTED=1 $(BIN)/pytest tests/clusters

test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/pytest -n auto --dist worksteal -m "not slow"

transcripts: .venv/installed-test
	$(BIN)/python -m tests.transcripts

docs: .venv/installed-test
	$(BIN)/python -m sphinx -W --keep-going -q -b html -j auto docs docs/_build/html
	@echo "the manual: docs/_build/html/index.html"

.venv/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,docs]"
	touch $@

.venv/installed-ray: .venv/installed-test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,ray]"
	touch $@

# What pyproject.toml asks for at its lowest, what that needs at its newest, and the newest tools for tests.
$(LOWEST)/installed: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct $(EXTRAS:%=--extra %) --output-file $(LOWEST)/lowest.txt pyproject.toml
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --constraint $(LOWEST)/lowest.txt --editable ".[test]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv $(LOWEST)

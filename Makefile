PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint tests/constraints.txt --editable

.PHONY: demo test
.DELETE_ON_ERROR:

# Train DeepPose with its cascade on drawn people and show what comes out.
demo: $(VENV)/installed
	$(BIN)/toolkit run configs/pose_deeppose.yaml --synthetic

# Everything that must hold before a commit.
test: $(VENV)/installed-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy toolkit plugins
	$(BIN)/pytest -n 2 --dist loadfile

# uv installs the same packages as pip, in a fraction of the time.
$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/installed: pyproject.toml tests/constraints.txt | $(BIN)/uv
	$(INSTALL) .
	touch $@

$(VENV)/installed-for-tests: pyproject.toml tests/constraints.txt | $(BIN)/uv
	$(INSTALL) ".[test]"
	touch $@ $(VENV)/installed

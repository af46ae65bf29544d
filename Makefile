# make train  sets everything up, then trains, evaluates and exports on the embedded digits
# make test   sets everything up, then runs the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: train test test-slow lint clean

train: $(READY)
	$(BIN)/python -m launch.train --flagfile=digits.flags --output_dir=runs/digits

test: $(READY)
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile
	@echo "left out: tests marked slow (make test-slow)"

test-slow: $(READY)
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(READY): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info

# make train  sets everything up, then trains, evaluates and exports on the embedded digits
# make test   sets everything up, then runs the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Files in the order of their names: xdist puts those with the fewest tests last, and these are not the shortest.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: train test test-slow coverage lint docs clean

train: $(READY)
	$(BIN)/python -m launch.train --flagfile=digits.flags --output_dir=runs/digits

test: $(READY)
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(READY)
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest -m slow

# Of crvae_tf and launch by all tests, the processes that these start included.
coverage: $(READY)
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest $(PARALLEL) \
		--cov=crvae_tf --cov=launch --cov-report=term:skip-covered

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Into site/; a broken link fails.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable ".[docs]"
	$(BIN)/python docs/write_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .ci/mkdocs.yml

$(READY): setup.py .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint .ci/constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) build dist site *.egg-info

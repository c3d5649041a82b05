PYTHON ?= python3
BIN = .venv/bin
INSTALLED = .venv/.installed

.PHONY: help demo test lint types format clean

help:
	@echo "make demo    install, then train and compare the methods on the built-in world: runs/demo/report.html"
	@echo "make test    install, then run the tests"
	@echo "make lint    check formatting and style (ruff)"
	@echo "make types   check types (mypy)"
	@echo "make format  format the code and mend what ruff can mend"
	@echo "make clean   remove .venv and caches; runs/ stays"
	@echo "Another interpreter: make PYTHON=python3.12 test"

demo: $(INSTALLED)
	$(BIN)/minorkey demo --out runs/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "minorkey needs Python 3.11 or newer; '$(PYTHON)' is older or missing. Try: make PYTHON=python3.12" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist src/*.egg-info
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

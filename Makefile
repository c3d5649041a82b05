PYTHON ?= python3
BIN = .venv/bin
TIMM = .venv-timm
OLDEST = .venv-oldest
RAY = .venv-ray
INSTALLED = .venv/.installed

.PHONY: help demo test test-thorough test-timm test-ray test-oldest lint types docs format clean

help:
	@echo "make demo    install, then train and compare the methods on the built-in world: runs/demo/report.html"
	@echo "make test    install, then run the tests"
	@echo "make test-thorough  install, then run the tests that take longest: every combination, whole rehearsals"
	@echo "make test-timm  install timm in an environment of its own, then run the tests of its networks"
	@echo "make test-oldest  install the oldest transformers that is taken, with the torch of GPU machines, then run what a GPU would"
	@echo "make test-ray   install Ray in an environment of its own, then run the tests that it drives"
	@echo "make lint    check formatting, style (ruff) and which room imports which (import-linter)"
	@echo "make types   check types (mypy)"
	@echo "make docs    build the documentation as a site: site/index.html; a warning fails"
	@echo "make format  format the code and mend what ruff can mend"
	@echo "make clean   remove .venv and caches; runs/ stays"
	@echo "Another interpreter: make PYTHON=python3.12 test"

demo: $(INSTALLED)
	$(BIN)/minorkey demo --out runs/demo

# Tests start processes by the dozen; where the environment forbids compiled modules, each would compile them anew.
test test-thorough: export PYTHONDONTWRITEBYTECODE =
test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not thorough"

test-thorough: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist load -m thorough

test-timm: $(TIMM)/.installed
	PYTHONPATH=tests/contract $(TIMM)/bin/python -m pytest -p torchvision_schemas tests/contract -k timm
	PYTHONPATH=tests/contract $(TIMM)/bin/python -m pytest -p torchvision_schemas \
		tests/models/test_timm_backbone.py tests/models/test_catalog.py tests/export/test_export_timm.py

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest tests/test_on_gpu.py tests/adapters/test_packed.py tests/adapters/test_held.py tests/models tests/training

test-ray: $(RAY)/.installed
	$(RAY)/bin/python -m pytest tests/ray

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

# Not with --quiet, which would also not count the warnings. The variable silences an advertisement at every build.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

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

.venv/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

# torchvision's only build on the index asks for CUDA packages; timm needs its Python part alone, and no more.
$(TIMM)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TIMM)
	$(TIMM)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(TIMM)/bin/python -m pip install --disable-pip-version-check --no-deps timm==1.0.31 torchvision==0.28.0
	touch $@

# Several GB: the package index has this torch for CUDA alone.
$(OLDEST)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OLDEST)
	grep -v -E '^(torch|transformers|tokenizers|huggingface_hub|hf-xet|httpcore2|httpx2|setuptools|sympy)==' constraints.txt \
		>$(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --disable-pip-version-check -c $(OLDEST)/constraints.txt \
		'torch==2.11.*' 'transformers==5.17.*' -e '.[dev]'
	touch $@

$(RAY)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev,ray]'
	touch $@

clean:
	rm -rf site .venv .venv-timm .venv-ray .venv-oldest .mypy_cache .pytest_cache .ruff_cache .grimp_cache .import_linter_cache build dist src/*.egg-info
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

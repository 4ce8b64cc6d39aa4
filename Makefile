# make demo   from a fresh clone to a distilled student and a report
# make test   all tests      make quick   those under three seconds     make faults   the large doses
# make check  format, lint, types, import rules      make docs    write the generated pages again

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# One thread a process: the networks of the tests are too small to share. Three processes, for two cores: they often wait
# for DVC. In the order of the folders, so that graph is not last.
TESTS := OMP_NUM_THREADS=1 pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick faults check docs

demo: .venv/ready
	dvc repro
	@ssl-pipe report --markdown
	@echo "The report: $(CURDIR)/data/report.html"

test: .venv/ready
	$(TESTS)

quick: .venv/ready
	$(TESTS) -m "not slow and not faults"

faults: .venv/ready
	pytest tests/faults --dose full

check: .venv/ready
	ruff format --check .
	ruff check .
	mypy
	lint-imports

docs: .venv/ready
	python -m pipeline.reference

# Bytecode is compiled at once: imports of torch take seconds more without it, and some machines forbid writing it later.
.venv/ready: pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
		uv venv --quiet --allow-existing --python $(PYTHON) .venv && \
		VIRTUAL_ENV=$(CURDIR)/.venv uv pip install --quiet --compile-bytecode -e '.[test]' -c constraints.txt; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/pip install --quiet --disable-pip-version-check --compile -e '.[test]' -c constraints.txt; \
	fi
	@touch $@

# Two commands for a newcomer: make demo, make test. They need make and Python 3.11 or newer, and nothing else.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first of these that runs and is new enough makes the environment; with `make PYTHON=...` that one does, or none.
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)

# Without pip's warnings; an error is always shown.
PIP_INSTALL := -m pip --disable-pip-version-check -q -q install

# Debian's installer, as root or through sudo.
APT := $(shell [ "$$(id -u)" = 0 ] || echo sudo) DEBIAN_FRONTEND=noninteractive apt-get

# Most tests wait for kernels and servers most of the time: more of them at a time than there are cores.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PARALLEL := -n $(JOBS) --dist loadfile

NEEDS_NPM := command -v npm >/dev/null || { echo "Installing npm ..."; $(APT) update -qq && $(APT) install -y -qq npm >/dev/null; }

# The MCP SDK has two majors, and LangChain's clients of each do not share an environment.
MCP2 := build/mcp2
MCP_TOOLS := build/mcp-tools

# What stands between us and our dependencies, for the lowest versions of these.
LOWEST := build/lowest
LOWEST_TESTS := tests/unit $(addprefix tests/integration/test_,$(addsuffix .py,main_job file_store contents_store langchain \
	mcp_http runs cli hostile_server))

# What needs only Python.
PYTEST := $(BIN)/python -m pytest $(PARALLEL) -m "not browser and not servers"

.PHONY: help demo test test-failed faults fuzz test-browser test-mcp test-servers test-lowest audit constraints-lowest test-more test-all check format docs bench test-wheel constraints clean same-python

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## Watch an agent analyse a data set in a new notebook
	@$(BIN)/langchain-jupyter demo

test: $(READY) ## Run every test that needs only Python
	@$(PYTEST)

test-failed: $(READY) ## Run again, one at a time, the tests that failed the last time
	@$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 1 -v

test-browser: $(READY) build/chromium/.ready ## Run the tests that need a browser; installs Debian's Chromium where there is none
	@$(BIN)/python -m pytest -m browser

faults: $(READY) ## Inject every fault of the README's table, and print how long each took to be told
	@FROZEN_SECONDS=20 $(BIN)/python -m pytest $(PARALLEL) -q tests/faults

fuzz: $(READY) ## Look for what no test has found yet: other examples, EXAMPLES=1500 for each test, MINUTES=5 at most
	@$(BIN)/python -m pytest $(PARALLEL) -m "hypothesis and not browser and not servers" --hypothesis-profile search

test-mcp: $(READY) $(MCP2)/.ready $(MCP_TOOLS)/.ready ## Run MCP clients and servers of both SDKs, its conformance suite and its inspector
	@$(BIN)/python -m pytest $(PARALLEL) -m servers tests/integration/test_mcp_*.py

test-servers: build/servers/.ready ## Run the tests behind JupyterHub and gateways, and those of R; installs them
	@$(BIN)/python -m pytest $(PARALLEL) -m servers --ignore-glob 'tests/integration/test_mcp_*.py'

test-more: check build/chromium/.ready $(MCP2)/.ready $(MCP_TOOLS)/.ready build/servers/.ready test-wheel ## Run what `make test` leaves out: the checks, a browser, servers, the wheel
	@$(BIN)/python -m pytest $(PARALLEL) -m "browser or servers"

test-lowest: $(LOWEST)/.ready ## Run what stands on our dependencies with the lowest versions that pyproject.toml allows
	@$(LOWEST)/bin/python -m pytest $(PARALLEL) -m "not browser and not servers" $(LOWEST_TESTS)

# With the Python that constraints-lowest.txt is for: the oldest pandas and scikit-learn have no wheels for newer ones.
$(LOWEST)/.ready: PYTHONS := $(or $(PYTHON),python3.11)
$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt
	@$(find_python); \
	echo "Making $(LOWEST) with $$("$$python" --version) and the lowest versions that are allowed (minutes, once) ..."; \
	mkdir -p build && "$$python" -m venv --clear $(LOWEST)
	@$(LOWEST)/bin/python $(PIP_INSTALL) -c constraints-lowest.txt -e '.[test,review]'
	@touch $@

build/chromium/.ready:
	@command -v chromium >/dev/null || { echo "Installing Chromium ..."; $(APT) update -qq && $(APT) install -y -qq chromium >/dev/null; }
	@mkdir -p $(@D) && touch $@

$(MCP2)/.ready: pyproject.toml constraints.txt | $(READY)
	@echo "Making $(MCP2), with mcp 2 ..."
	@mkdir -p build && $(BIN)/python -m venv --clear $(MCP2)
	@grep -v '^mcp==' constraints.txt > $(MCP2)/constraints.txt
	@$(MCP2)/bin/python $(PIP_INSTALL) -c $(MCP2)/constraints.txt -e '.[mcp]' 'mcp>=2,<3' 'langchain[mcp]'
	@touch $@

# They want a newer Node than Debian has; npm's package `node` is one.
$(MCP_TOOLS)/.ready:
	@$(NEEDS_NPM)
	@echo "Installing MCP's conformance suite and inspector ..."
	@npm install --silent --no-fund --no-audit --prefix $(MCP_TOOLS) \
		node@22 @modelcontextprotocol/conformance@0.1.16 @modelcontextprotocol/inspector@2.12.0
	@touch $@

# Enterprise Gateway wants an older jupyter-client and jupyter-server than ours, so it has an environment of its own.
build/servers/.ready: $(READY)
	@$(NEEDS_NPM)
	@command -v R >/dev/null || { echo "Installing R ..."; $(APT) update -qq && $(APT) install -y -qq --no-install-recommends r-cran-irkernel >/dev/null; }
	@echo "Installing JupyterHub, its proxy, and two gateways (minutes, once) ..."
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[test,servers]'
	@npm install --silent --no-fund --no-audit --prefix build/servers configurable-http-proxy@5
	@$(BIN)/python -m venv build/enterprise
	@build/enterprise/bin/python $(PIP_INSTALL) jupyter_enterprise_gateway==3.3.0 ipykernel
	@touch $@

test-all: test test-more ## Run everything

check: $(READY) ## Lint, check the format, check the types (what CI runs)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(READY) ## Mend what ruff can mend
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

docs: $(READY) ## Build the documentation in build/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The documentation is in build/docs/index.html."

bench: $(READY) ## Measure speed against the bare libraries
	@$(BIN)/python benchmarks/local.py
	@$(BIN)/python benchmarks/serve.py
	@$(BIN)/python benchmarks/live.py

# Away from the source tree, so that nothing can be found there by chance.
define USE_THE_WHEEL
from importlib.metadata import entry_points
import langchain_jupyter, langchain_jupyter.prompts as prompts
assert "site-packages" in langchain_jupyter.__file__, langchain_jupyter.__file__
assert prompts.get_prompt("data_analysis", notebook="a.ipynb").invoke({"messages": []}).messages[0].text
assert entry_points(group="console_scripts")["langchain-jupyter"].load()
print("The wheel works:", langchain_jupyter.__version__, "with the tasks", *prompts.task_names())
endef
export USE_THE_WHEEL

test-wheel: $(READY) ## Build the wheel, install it elsewhere, import it and render a prompt
	@rm -rf build/wheel
	@echo "Building the wheel and installing it into build/wheel/venv ..."
	@$(BIN)/python -m pip --disable-pip-version-check -q -q wheel --no-deps -w build/wheel .
	@$(BIN)/python -m venv build/wheel/venv
	@build/wheel/venv/bin/python $(PIP_INSTALL) -c constraints.txt build/wheel/*.whl
	@elsewhere=$$(mktemp -d) && wheel=$$PWD/build/wheel/venv/bin/python && cd "$$elsewhere" \
		&& "$$wheel" -I -W error -c "$$USE_THE_WHEEL" && rmdir "$$elsewhere"

constraints: ## Renew constraints.txt with what resolves today
	@$(find_python); echo "Resolving in build/constraints with $$python ..."; \
	rm -rf build/constraints && mkdir -p build && "$$python" -m venv build/constraints
	@build/constraints/bin/python $(PIP_INSTALL) '.[test,servers]'
	@{ sed -n '/^#/p' constraints.txt; \
		build/constraints/bin/python -m pip --disable-pip-version-check list --format freeze --exclude langchain-jupyter \
			--exclude pip --exclude setuptools --exclude wheel; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@rm -rf build/constraints
	@echo "constraints.txt is new: $$(grep -c == constraints.txt) packages."

constraints-lowest: build/uv/.ready ## Renew constraints-lowest.txt with the lowest versions that pyproject.toml allows
	@{ sed -n '/^#/p' constraints-lowest.txt; build/uv/bin/uv pip compile -q --resolution lowest-direct --no-annotate --no-header \
		--python-version 3.11 --extra test --extra review pyproject.toml | LC_ALL=C sort; } > build/constraints-lowest.txt
	@mv build/constraints-lowest.txt constraints-lowest.txt
	@echo "constraints-lowest.txt is new: $$(grep -c == constraints-lowest.txt) packages."

PIP_AUDIT = build/uv/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip $(AUDIT)

# pycrypto 2.6.1 was never mended: where nothing is told of it, silence about the others says nothing.
audit: build/uv/.ready ## Look for known vulnerabilities in what constraints.txt installs; needs an advisory database in reach
	@echo pycrypto==2.6.1 > build/uv/known.txt && rm -f build/uv/known.found
	@$(PIP_AUDIT) -r build/uv/known.txt -o build/uv/known.found 2>build/uv/known.errors || true
	@grep -qs '^pycrypto' build/uv/known.found || { cat build/uv/known.errors; printf '%s\n' \
		"Nothing was audited: the advisories were not reached, since nothing was told of pycrypto 2.6.1, which has some." \
		"Run this where PyPI itself can be reached, since mirrors have none; or, for OSV's: make audit AUDIT='-s osv'" >&2; exit 1; }
	@$(PIP_AUDIT) -r constraints.txt || { printf '%s\n' \
		"A table above names what was found: raise these versions (make constraints), and the bounds in pyproject.toml." \
		"Without a table the audit did not come to its end, for the reason above, and nothing is known." >&2; exit 1; }

# Tools that look at the dependencies, and are none.
build/uv/.ready: | $(READY)
	@mkdir -p build && $(BIN)/python -m venv --clear build/uv
	@build/uv/bin/python $(PIP_INSTALL) 'uv>=0.9' 'pip-audit>=2.9'
	@touch $@

clean: ## Remove what make made, the environment too
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $$python, or says what is missing.
define find_python
python=; for candidate in $(PYTHONS); do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "No Python 3.11 or newer found (tried: $(strip $(PYTHONS))). Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; \
fi; \
if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	echo "$$python cannot make virtual environments. Install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; \
fi
endef

# The environment that is there stays: whoever names another Python says what to do with it.
same-python:
	@$(find_python); asked=$$("$$python" --version); \
	if [ -x $(BIN)/python ] && made=$$($(BIN)/python --version) && [ "$$made" != "$$asked" ]; then \
		printf '%s\n' "$(VENV) was made with $$made, not with $$asked." \
			"Name another folder beside it, as in make test PYTHON=$(PYTHON) VENV=$(VENV)-$${asked#* }, or make clean first." >&2; exit 1; \
	fi

$(READY): pyproject.toml constraints.txt | $(if $(PYTHON),same-python)
	@if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
		$(find_python); \
		echo "Making the virtual environment $(VENV) with $$("$$python" --version) and installing what is needed (minutes, once) ..."; \
		"$$python" -m venv --clear $(VENV); \
	else \
		echo "Bringing $(VENV) up to date with pyproject.toml and constraints.txt ..."; \
	fi
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[test]'
	@touch $@

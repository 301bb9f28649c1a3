# Each target sets up what it needs by itself (tools/prepare): a Python environment in .venv, and as root
# on Debian or Ubuntu the real servers the tests talk to. `make` alone explains.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test lint types man format coverage venv servers native bench-dns bench-accounts clean sim

BIN := .venv/bin
# A daemon that compiles all its modules at each start is not what is installed anywhere.
unexport PYTHONDONTWRITEBYTECODE
# make demo KEEP=1 leaves the demonstration cluster running; make test ARGS='-k dns' narrows a test run.
KEEP ?=
ARGS ?=
# make sim SEEDS=10000 lives through many seeds; KIND and SEED run one life again.
SEEDS ?= 100
KIND ?=
SEED ?=

help: ## what can be made
	@echo 'beonss + cpasswd: the name service and account sync daemon of a cluster'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo 'Nothing has to be installed first but make and, on Debian or Ubuntu, nothing else.'

demo: venv ## a cluster of three masters and a node on this machine, shown at work (KEEP=1: leave it running)
	@KEEP='$(KEEP)' $(BIN)/python tools/demo.py

test: venv servers ## all tests, real servers included (ARGS='-k dns' for some, ARGS=-n0 for one after the other)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

sim: venv ## lives of simulated clusters (SEEDS=10000: how many of each kind; KIND=power SEED=7: one again)
	@PYTHONPATH="tests$${PYTHONPATH:+:$$PYTHONPATH}" $(BIN)/python -m support.simulator --seeds $(SEEDS) $(if $(SEED),--first $(SEED) --seeds 1) \
	    $(if $(KIND),--kind '$(KIND)')

lint: venv ## style, import rules, manual pages, shell scripts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@tools/lint-text

types: venv ## mypy, strict, over everything of ours
	@$(BIN)/mypy

man: venv ## lint the manual pages and render them into build/man
	@tools/lint-text
	@mkdir -p build/man
	@for page in $(wildcard docs/man/*.[1-8]); do \
	    mandoc -T utf8 "$$page" | col -b > "build/man/$$(basename "$$page").txt" && \
	    mandoc -T html -O style=mandoc.css "$$page" > "build/man/$$(basename "$$page").html" || exit 1; done
	@echo 'rendered into build/man; to read one: man -l docs/man/beonss.8'

format: venv ## rewrite the sources in the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: venv servers ## all tests with branch coverage; fails below the floor in pyproject.toml
	@$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

native: ## the compiled core of the DNS server, with every warning an error (needs gcc and python3-dev)
	@tools/prepare venv
	@$(BIN)/python hatch_build.py --strict

bench-dns: venv ## DNS compared with NSD, Knot, BIND and dnsmasq where they are installed (ARGS='--help')
	@$(BIN)/python bench/dns.py $(ARGS)

bench-accounts: venv ## accounts compared with OpenLDAP in mirror mode where slapd is installed (ARGS='--help')
	@$(BIN)/python bench/accounts.py $(ARGS)

venv: ## the Python environment in .venv
	@tools/prepare venv

servers: ## dig, slapd, pamtester ... for the tests (needs root; without, says which)
	@tools/prepare servers

clean: ## remove everything made here, the environment included
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find beonss cpasswd twisted tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache beonss/net/dns/_dns_native.abi3.so

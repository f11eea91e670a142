# `make figure1` and `make test` set everything up by themselves; `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
FAST   ?=
ROUGH  := $(filter-out 0,$(FAST))
TPU    := .venv-tpu
PARITY := .venv-parity
RESNET := --config.data.name=cifar10 --config.model.family=cifar_resnet
DYNAMICS := build/dynamics$(if $(ROUGH),_fast)
# Test files side by side, one a core and at most 4 (each takes 2 to 3 GB); WORKERS=0: one process.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || sysctl -n hw.ncpu); echo $$((n < 4 ? n : 4)))
SUITE   = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help env figure1 dynamics transformer theorems plan numbers test slow parity slurm lint pins clean

help:            ## what can be made
	@grep -E '^[a-z0-9]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

env: $(STAMP)    ## the environment in .venv, with the pinned packages

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: make env PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if $(BIN)/python -m pip install -q --disable-pip-version-check uv; then \
	  $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt \
	    -e '.[test,report]'; \
	else \
	  $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,report]'; \
	fi
	touch $(STAMP)

figure1: env     ## the paper's Figure 1 from scratch, into build/figure1 (FAST=1: 3 seeds, short)
	$(BIN)/python -m launch.figure --name=figure1 --workdir=build/figure1 $(if $(ROUGH),--fast)

dynamics: env    ## depth over training with its controls, and the report, into build/dynamics (FAST=1)
	$(BIN)/python -m launch.dynamics --workdir=$(DYNAMICS) $(if $(ROUGH),--fast) || test $$? = 3
	$(BIN)/python -m launch.report --workdir=$(DYNAMICS)/report --what=none \
	  $(DYNAMICS)/runs/*-main/ $(DYNAMICS)/runs/*-frozen/ $(DYNAMICS)/runs/*/ || test $$? = 3

transformer: env  ## a language model of ours, with and without LayerNorm scaling, into build/transformer
	$(BIN)/python -m launch.figure --name=transformer --workdir=build/transformer $(if $(ROUGH),--fast) || test $$? = 3

theorems: env    ## every theorem and erratum checked by numbers, into build/theorems
	$(BIN)/python -m launch.theorems --workdir=build/theorems

plan: $(TPU)/.installed  ## what two trainings take on TPUs that are not there (minutes), into the README
	$(TPU)/bin/python -m launch.plan --workdir=build/plan_resnet20 --topology=v5e:2x4 \
	  --config.seeds=8 $(RESNET) --config.model.depth=20
	$(TPU)/bin/python -m launch.plan --workdir=build/plan_resnet110 --topology=v5e:2x4 \
	  $(RESNET) --config.model.depth=110
	$(TPU)/bin/python -m launch.numbers --workdir=build

# An environment of its own: where libtpu is installed JAX looks for a TPU at every start.
$(TPU)/.installed: pyproject.toml constraints.txt
	test -x $(TPU)/bin/python || $(PYTHON) -m venv $(TPU)
	$(TPU)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[tpu]'
	touch $@

numbers: env     ## the table and the pictures of the README, from what stands in build/
	$(BIN)/python -m launch.numbers --workdir=build

test: lint       ## ruff, the layering test and the suite, but for what is slow
	$(SUITE)

slow: env        ## the tests that take minutes, or stand beside a quick one of their kind
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(SUITE) -m slow

parity: $(PARITY)/.installed  ## published layouts beside the libraries they come from (torch, transformers)
	$(PARITY)/bin/python tests/parity/goldens.py
	$(PARITY)/bin/python tests/parity/minilm.py
	$(PARITY)/bin/python -m pytest -m 'slow or not slow' tests/pretrained
	$(PARITY)/bin/python -m launch.benchmark --what=hooks --workdir=build/benchmarks

# An environment of its own: the project needs none of these libraries.
$(PARITY)/.installed: pyproject.toml constraints.txt tests/parity/requirements.txt
	test -x $(PARITY)/bin/python || $(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt \
	  -r tests/parity/requirements.txt -e '.[test]'
	touch $@

slurm: env       ## a real Slurm of one node, as a transcript: docs/slurm.txt (root, Debian's packages)
	tests/slurm/transcript.sh $(CURDIR)/$(BIN)/python > docs/slurm.txt

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

pins: env        ## the constraints anew, for all Pythons, without addresses
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --upgrade --extra test --extra report \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  pyproject.toml -o constraints.txt

clean:           ## everything that was made, the environment too
	rm -rf $(VENV) $(TPU) $(PARITY) build .jax_cache .pytest_cache .ruff_cache *.egg-info

# Copyright: (c) 2026, the esync.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Two commands do it all: `make mesh` (a mesh of five on this machine) and `make test` (everything that CI runs).

PYTHON ?= python3
VENV := .venv
# What running a mesh needs, and what the tests need besides.
RUNTIME := $(VENV)/.requirements
STAMP := $(VENV)/.requirements-dev

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help venv mesh changed check test fuzz chaos bench services hostile matrix matrix-control matrix-hosts soak execution-environment docs pictures clean

help:
	@echo "make mesh         make a mesh of five servers on this machine, prove its 20 pairs (no root, no ssh)"
	@echo "make changed      format, lint and test what you have changed, in seconds (no root)"
	@echo "make check        lint, types and unit tests (no root)"
	@echo "make test         everything that CI runs (as root: it installs packages and starts containers)"
	@echo "make PART         one part of it: $(PARTS)"
	@echo "make fuzz         feed every reader with 10,000,000 mutated files (SEED=7 EXECUTIONS=10000000; no root)"
	@echo "make bench        measure what a server costs in meshes of 3, 6 and 12 (no root)"
	@echo "make services     find out what each product does with certificates, for docs/services.md (as root)"
	@echo "make hostile      let one member of a mesh return anything, 500 times (no root)"
	@echo "make matrix       both halves of it: every control node and every host, a line for each (no root)"
	@echo "make matrix-control every ansible-core on every Python that it supports and that is here (no root)"
	@echo "make matrix-hosts one mesh over every Python and cryptography that hosts may have (no root; as many as there are Pythons here)"
	@echo "make soak         rotate 20 times under load; not one request may fail (no root; needs nginx; takes half an hour)"
	@echo "make chaos        kill visits, control processes and hosts at every stage, 450 times (as root; it takes hours)"
	@echo "make execution-environment   build one with ansible-builder, and make a mesh in it (as root, with podman)"
	@echo "make docs         write the documents that are made from the code"
	@echo "make tutorial     do what docs/tutorial.md says, and compare the outputs (no root)"
	@echo "make docs-site    build the documents, the plugins and the role as one site in .site/; a broken link fails (no root)"
	@echo "make pictures     take the pictures of the documents again (needs chromium and chromium-driver)"
	@echo "make clean        remove what the above made"

venv: $(STAMP)

$(RUNTIME): requirements.txt tests/ci/make-venv.sh
	@tests/ci/make-venv.sh $(PYTHON) $(VENV) requirements.txt

$(STAMP): requirements-dev.txt $(RUNTIME)
	@tests/ci/make-venv.sh $(PYTHON) $(VENV) requirements-dev.txt

# What changes nothing is left out, so that it fits a screen. Without ANSIBLE_CONFIG Ansible would ignore the ansible.cfg of a
# folder that everybody may write.
mesh: SHELL := /bin/bash -o pipefail
mesh: $(RUNTIME)
	@ANSIBLE_CONFIG=ansible.cfg ANSIBLE_DISPLAY_OK_HOSTS=false $(VENV)/bin/ansible-playbook playbooks/establish-esync.yml | \
	  sed -u '1{/^$$/d}; / : Go on\] /d; /^included: /d' | cat -s
	@echo "To look at: .mesh/report/mesh.html (the report), .mesh/amsterdam (a server's files), .mesh/ledger (public certificates)"
	@echo "Next: $(VENV)/bin/ansible-playbook playbooks/check.yml, or your own servers: README.md"

check: $(STAMP)
	$(PYTHON) tests/ci/run.py lint types unit

# Only what was changed since the branch left main.
changed: $(STAMP)
	$(VENV)/bin/python tests/ci/changed.py

test: $(STAMP)
	$(PYTHON) tests/ci/run.py

# A single part, such as `make unit` or `make molecule-default`. The parts chaos and fuzz are
# short samples of what `make chaos` and `make fuzz` do, and the part services tests what `make services` measures.
PARTS := $(filter-out chaos fuzz services,$(shell $(PYTHON) tests/ci/run.py --list 2>/dev/null))
.PHONY: $(PARTS)
$(PARTS): $(STAMP)
	$(PYTHON) tests/ci/run.py $@

# At full size.
SEED ?= 7
EXECUTIONS ?= 10000000
fuzz: $(STAMP)
	$(VENV)/bin/python tests/fuzz/run.py --seed $(SEED) --executions $(EXECUTIONS)

# No part of the tests: it measures.
bench: $(STAMP)
	$(VENV)/bin/python benchmarks/scale.py

# Writes its table into docs/services.md.
services: $(STAMP)
	$(VENV)/bin/python benchmarks/services.py

# A short sample of it is among the integration tests.
hostile: $(STAMP)
	$(VENV)/bin/python tests/integration/hostile.py --runs 500

# Every control node and every kind of host; if one half fails, the other is run all the same (make -k).
matrix: $(STAMP)
	$(MAKE) -k matrix-control matrix-hosts

# Every ansible-core on each Python that it supports and that is here, a line for each; two of them are among the tests.
# More to the point: make matrix-control CONTROL='--core 2.14 --python 3.11'
matrix-control: $(STAMP)
	$(VENV)/bin/python tests/compat/control_nodes.py $(CONTROL)

# Every kind of host that this machine has the Python for, a line for each; five of them are among the tests.
matrix-hosts: $(STAMP)
	$(VENV)/bin/pytest -p no:cacheprovider -q tests/compat --all-cells

# More, or less: make soak SOAK='--rotations 2 --requests 1000'
soak: $(STAMP)
	$(VENV)/bin/python benchmarks/soak.py $(SOAK)

# The full counts; a part of the tests is a short sample of it (tests/ci/run.py chaos).
chaos: $(STAMP)
	$(VENV)/bin/python tests/chaos/run.py --visits 300 --control 100 --hosts 50 $(CHAOS)

execution-environment: $(STAMP)
	tests/ci/execution-environment.sh $(VENV)/bin

docs: $(STAMP)
	$(VENV)/bin/python docs/make.py

pictures: $(STAMP)
	$(VENV)/bin/python docs/pictures.py

clean:
	rm -rf .mesh .site .cache .mypy_cache .ruff_cache $(VENV)

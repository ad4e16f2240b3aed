# Two commands are all one needs: `make demo` and `make test`. Both install what they lack.
VENV := .venv
BIN := $(VENV)/bin
# Compiling every installed file costs a minute; `setup` compiles those that are used, by importing them once.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format train-models pictures screenshots notebooks docs links constraints clean

help:  ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed  ## Install into .venv, system libraries too where that is allowed

$(VENV)/.python:
	@set -e; python=$$(scripts/find-python); scripts/system-libraries "$$python"; \
	echo "Making $(VENV) with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV)
	@# Dependency groups need pip 25.1.
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing napari-braindiffusion and what it needs (one to three minutes)"
	@$(PIP) --editable '.[qt]'
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import napari.viewer, napari.qt, pyqtgraph, zarr' & \
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import torch, torchio, lightning_fabric' && wait $$!
	@touch $@

$(VENV)/.developer: $(VENV)/.installed
	@$(PIP) --group dev
	@touch $@

demo: setup  ## Show the main job: a brain comes into being in napari (without a screen: into demo/)
	@scripts/with-screen $(BIN)/python -m napari_braindiffusion.demo

test: $(VENV)/.developer  ## The whole suite with style and types, real viewer included, through tox
	@$(BIN)/tox run -e here

lint: $(VENV)/.developer  ## Style, types and the arrows between packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.developer  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

DATA ?= ../shared/data/ixi-2mm
train-models: setup  ## Train the packaged model anew on DATA (hours)
	$(BIN)/braindiffusion prepare $(DATA)/IXI-T1 --labels $(DATA)/labels --participants $(DATA)/participants.tsv \
		--out build/ixi-2mm.zarr
	$(BIN)/braindiffusion train --data build/ixi-2mm.zarr --validation-subjects 30 --out build/ixi-2mm
	$(BIN)/python examples/package_model.py build/ixi-2mm/best --out src/braindiffusion/models/pretrained/ixi-2mm
	$(BIN)/braindiffusion prepare $(DATA)/IXI-T1 --labels $(DATA)/labels --participants $(DATA)/participants.tsv \
		--skull keep --shape 96 120 104 --out build/heads.zarr
	$(BIN)/braindiffusion train-reader --data build/heads.zarr --steps 5000 --out build/reader
	$(BIN)/python examples/package_reader.py build/reader/best --out src/braindiffusion/models/pretrained/ixi-2mm-regions

pictures: setup  ## Make the pictures of the documentation
	$(BIN)/python examples/make_pictures.py
	$(BIN)/python examples/make_cascade_pictures.py
	cp examples/real_vs_generated.png docs/pictures/
	env -u DISPLAY -u WAYLAND_DISPLAY scripts/with-screen $(BIN)/python -m napari_braindiffusion.demo --out build/pictures
	cp build/pictures/screenshot.png docs/pictures/napari.png

screenshots: setup  ## Take every screenshot of README and documentation anew, in both themes (REPORT: of `evaluate`)
	env -u DISPLAY -u WAYLAND_DISPLAY scripts/with-screen $(BIN)/python examples/make_screenshots.py \
		$(if $(REPORT),--report $(REPORT))

notebooks: $(VENV)/.developer  ## Run the notebooks anew, and keep their outputs (needs Chrome)
	PLOTLY_RENDERER=png PYTHONWARNINGS='ignore:IProgress not found' BRAINDIFFUSION_RUNS=build/runs $(BIN)/python -m pytest --nbmake --overwrite notebooks

docs: $(VENV)/.developer  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

links: setup  ## Ask every address outside of the project whether it is still there
	$(BIN)/python scripts/check_links.py

constraints: $(VENV)/.developer  ## Pin what the tests run with now
	@{ echo '# The exact set that the tests run with (Python 3.11). Refresh it with `make constraints`.'; \
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//'; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## Remove what was built, the environments too
	rm -rf $(VENV) .tox build dist site demo .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

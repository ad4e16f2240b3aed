# Two commands suffice: `make demo` and `make test`. Both install what is missing.
VENV := .venv
BIN := $(VENV)/bin
# Compiling every installed file takes a minute; `setup` compiles the used ones by importing them once.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage test-quick lint format bench cost-plot fuzz torture soak cohorts train-models train-gpu pictures screenshots notebooks docs links constraints clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed  ## Install into .venv, with system libraries if permitted

$(VENV)/.python:
	@set -e; python=$$(scripts/find-python); scripts/system-libraries "$$python"; \
	echo "Making $(VENV) with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV)
	@# Dependency groups need pip 25.1.
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt
	@echo "Installing napari-braindiffusion and its dependencies (one to three minutes)"
	@$(PIP) --editable '.[qt]'
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import napari.viewer, napari.qt, pyqtgraph, zarr' & \
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import torch, torchio, lightning_fabric' && wait $$!
	@touch $@

$(VENV)/.developer: $(VENV)/.installed
	@$(PIP) --group dev
	@touch $@

demo: setup  ## Generate a brain in napari (without a display: into demo/)
	@scripts/with-screen $(BIN)/python -m napari_braindiffusion.demo

test: $(VENV)/.developer  ## Run the whole suite with style, types and a real viewer, through tox
	@$(BIN)/tox run -e here

coverage: $(VENV)/.developer  ## The same, and which lines of the code are never run (takes about half as long again)
	@$(BIN)/tox run -e here -- --cov --cov-report=term

test-quick: $(VENV)/.developer  ## Style and the quick tests, within three minutes
	@$(BIN)/tox run -e quick

lint: $(VENV)/.developer  ## Check style, types and import contracts
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.developer  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

FILES ?= 500
fuzz: $(VENV)/.developer  ## Open FILES damaged files through every function that reads files of others (Linux)
	$(BIN)/python scripts/fuzz.py --files $(FILES) --out build/fuzz.json

bench: $(VENV)/.developer  ## Compare time and memory with peers in one run; renew the table of docs/speed.md (COHORT: a prepared cohort)
	$(BIN)/python benchmarks/compare_peers.py $(if $(COHORT),--cohort $(COHORT)) --out build/bench.json --page docs/speed.md

cost-plot: setup  ## Draw the costs by number of voxels that `make bench` measured (needs Chrome)
	$(BIN)/python benchmarks/plot_cost.py build/bench.json --out docs/pictures/cost.png

KILLS ?= 20
CYCLES ?= 200
torture: $(VENV)/.developer  ## Kill jobs KILLS times, fill disks, generate and delete CYCLES times (Linux)
	$(BIN)/python scripts/torture.py --kills $(KILLS) --cycles $(CYCLES) --out build/torture.json

MINUTES ?= 60
soak: $(VENV)/.developer  ## Use the real viewer for MINUTES with real jobs, and measure what grows (Linux)
	env -u DISPLAY -u WAYLAND_DISPLAY scripts/with-screen $(BIN)/python scripts/soak.py --minutes $(MINUTES) --out build/soak.json

DATA ?= ../shared/data
PRETRAINED := src/braindiffusion/models/pretrained
# prepare ends with 3 where it leaves subjects out: here those three whose label maps have left and right mixed up.
LEAVES_OUT := || test $$? -eq 3
cohorts: setup  ## Preprocess the subjects of DATA that have label maps, at 2 mm: brains and whole heads
	$(BIN)/braindiffusion prepare $(DATA)/ixi-2mm/IXI-T1 --labels $(DATA)/ixi-2mm/labels \
		--participants $(DATA)/ixi-2mm/participants.tsv --out build/ixi-2mm.zarr $(LEAVES_OUT)
	$(BIN)/braindiffusion prepare $(DATA)/ixi-2mm/IXI-T1 --labels $(DATA)/ixi-2mm/labels \
		--participants $(DATA)/ixi-2mm/participants.tsv --skull keep --shape 96 120 104 --out build/heads.zarr $(LEAVES_OUT)

train-gpu: cohorts  ## Train the packaged models of 2 mm on DATA and one GPU (12 minutes)
	$(BIN)/python scripts/train_gpu.py pack build/ixi-2mm.zarr build/heads.zarr --heads 60 --out build/gpu
	$(BIN)/python scripts/train_gpu.py train build/gpu --minutes 12 --out build/gpu-results
	$(BIN)/python scripts/train_gpu.py collect build/gpu-results --out build/gpu-models

# SMALL=1: tiny networks and few steps, to try all of these commands in a copy of the checkout, whose models they replace.
TINY := $(if $(SMALL),--preset tiny --epochs 0.2)
train-models: cohorts  ## Train the packaged models on DATA (days; SMALL=1: tiny ones, to try it)
	$(BIN)/braindiffusion train-segmentation --data build/heads.zarr \
		$(if $(SMALL),--start-from ixi-2mm-regions --steps 2,--steps 6500) --out build/segmentation
	$(BIN)/python scripts/package_segmentation.py build/segmentation/best --out $(PRETRAINED)/ixi-2mm-regions
	$(BIN)/braindiffusion prepare $(DATA)/ds002748-cropped --participants $(DATA)/ds002748-cropped/participants.tsv \
		--skull strip --out build/ds002748.zarr
	$(BIN)/python scripts/join_cohorts.py build/ixi-2mm.zarr ds002748=build/ds002748.zarr --out build/two-sites.zarr
	$(BIN)/braindiffusion train --data build/ixi-2mm.zarr --validation-subjects 30 $(TINY) --out build/one-site
	$(BIN)/braindiffusion train --data build/two-sites.zarr --start-from build/one-site/best --condition site \
		--validation-subjects 30 $(or $(TINY),--epochs 40) --out build/ixi-2mm
	$(BIN)/python scripts/build_anatomy.py build/ixi-2mm.zarr --model build/ixi-2mm/best
	$(BIN)/python scripts/build_normative.py build/ixi-2mm.zarr --model build/ixi-2mm/best $(if $(SMALL),--every 30)
	$(BIN)/python scripts/package_model.py build/ixi-2mm/best --out $(PRETRAINED)/ixi-2mm
	$(BIN)/braindiffusion distill --model ixi-2mm --num-samples $(if $(SMALL),4,24) --seed 20 \
		--conditions scripts/distill_conditions.csv --first-level 0 --steps 4 --steps 4 --steps 2 --steps 2 \
		--training-steps $(if $(SMALL),2,300) --learning-rate 0.001 --out build/ixi-2mm-fast
	$(BIN)/python scripts/package_model.py build/ixi-2mm-fast --out $(PRETRAINED)/ixi-2mm-fast
	$(BIN)/braindiffusion train --data build/ixi-2mm.zarr --content regions --validation-subjects 30 \
		$(or $(TINY),--preset laptop-regions) --out build/ixi-2mm-anatomy
	$(BIN)/python scripts/package_model.py build/ixi-2mm-anatomy/best --out $(PRETRAINED)/ixi-2mm-anatomy
	$(BIN)/braindiffusion prepare $(DATA)/ds002748-cropped --participants $(DATA)/ds002748-cropped/participants.tsv \
		--spacing 1 --shape 160 208 176 --skull strip --out build/brain-1mm.zarr
	$(BIN)/braindiffusion train --data build/brain-1mm.zarr --start-from ixi-2mm --validation-subjects 8 \
		$(or $(TINY),--preset laptop --epochs 250) --out build/brain-1mm
	$(BIN)/python scripts/package_model.py build/brain-1mm/best --out $(PRETRAINED)/brain-1mm
	$(BIN)/python scripts/package_model.py build/brain-1mm/best --out $(PRETRAINED)/brain-1mm-fast

pictures: setup  ## Draw the pictures of the documentation
	$(BIN)/python scripts/make_pictures.py
	$(BIN)/python scripts/make_cascade_pictures.py
	env -u DISPLAY -u WAYLAND_DISPLAY scripts/with-screen $(BIN)/python -m napari_braindiffusion.demo --out build/pictures
	cp build/pictures/screenshot.png docs/pictures/napari.png

screenshots: setup  ## Take the screenshots of all docks in both themes (REPORT: a report folder of `evaluate`, PATIENT: a T1w scan)
	env -u DISPLAY -u WAYLAND_DISPLAY scripts/with-screen $(BIN)/python scripts/take_screenshots.py \
		$(if $(REPORT),--report $(REPORT)) $(if $(PATIENT),--patient $(PATIENT))

notebooks: $(VENV)/.developer  ## Run the notebooks and keep their outputs (needs Chrome)
	PLOTLY_RENDERER=png PYTHONWARNINGS='ignore:IProgress not found' BRAINDIFFUSION_RUNS=build/runs $(BIN)/python -m pytest --nbmake --overwrite notebooks

docs: $(VENV)/.developer  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

links: setup  ## Check the addresses of other sites
	$(BIN)/python scripts/check_links.py

constraints: $(VENV)/.developer  ## Pin the installed versions
	@{ echo '# The exact set that the tests run with (Python 3.11). Refresh it with `make constraints`.'; \
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//'; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## Remove everything that was built, environments included
	rm -rf $(VENV) .tox build dist site demo .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

"""Compare time, memory and throughput with peers on the same work, all measured in one run.

    python benchmarks/compare_peers.py --out build/bench.json --page docs/speed.md

Each case runs in a process of its own, one after the other, with all cores. Peers: MONAI's `DiffusionModelUNet` on the
voxels, as in its tutorials, and the same network on one level of a Haar transform (eight bands at half the resolution),
as in WDM (arXiv 2402.19043) and WaveDiT (arXiv 2606.08670). Their weights are random: time does not depend on them.

The cases `gpu_...` need CUDA and are left out without; all others use the CPU, on any machine. On a GPU alone:

    python benchmarks/compare_peers.py --only gpu_brain gpu_training --out build/gpu.json
"""

import argparse
import compileall
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import psutil
import torch
from torch import Tensor, nn

SHAPE = (80, 104, 88)
"""Voxels of a brain at 2 mm."""
HAAR = tuple(side // 2 for side in SHAPE)
EVALUATIONS = 50
"""Network evaluations of a peer's brain: DDIM with 50 steps."""
LONG = 5.0
"""Processor seconds of a work that is not repeated."""
Measured = dict[str, float]
COHORT_VARIABLE = "BENCH_COHORT"
"""Environment variable by which a case finds the cohort of `--cohort`."""
START, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def timed(work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of some repetitions, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        begun = perf_counter()
        work()
        seconds.append(perf_counter() - begun)
    return median(seconds[1:])


def peak_memory_gb() -> float:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def processor_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least processor seconds of some repetitions, of one alone where that takes long."""
    best = math.inf
    for _ in range(repeats):
        begun = process_time()
        work()
        best = min(best, process_time() - begun)
        if best > LONG:
            break
    return best


# -- networks ----------------------------------------------------------------------------------------------------------


def monai_network(bands: int, channels: tuple[int, ...] = (32, 64, 128), blocks: int = 1) -> nn.Module:
    """MONAI's diffusion U-Net of 7 million parameters, with attention at its coarsest resolution."""
    from monai.networks.nets import DiffusionModelUNet

    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=bands,
        out_channels=bands,
        channels=channels,
        attention_levels=(False,) * (len(channels) - 1) + (True,),
        num_res_blocks=blocks,
        num_head_channels=32,
        norm_num_groups=16,
        use_flash_attention=True,  # else the matrix of all pairs of sites is stored
    )


def monai_forward(network: nn.Module, bands: int, shape: tuple[int, ...]) -> Callable[[], Tensor]:
    x = torch.randn(1, bands, *shape)
    return lambda: network(x, torch.tensor([500]))


def cascade() -> Any:
    """The packaged model."""
    from braindiffusion.models.model_cache import cached_model
    from braindiffusion.models.registry import DEFAULT_MODEL, find_model

    return cached_model(find_model(DEFAULT_MODEL), torch.device("cpu"))


def level_forward(generator: Any, index: int) -> Callable[[], Tensor]:
    """One evaluation of the network of a level on its whole grid, told a region map."""
    from braindiffusion.models.condition_tensors import as_condition

    level = generator.cascade.level(index)
    x = torch.randn(1, level.outputs, *level.grid)
    coarse = torch.randn(1, 1, *level.grid) if level.has_coarse else None
    coarse_sigma = torch.ones(1) if level.has_coarse else None
    condition = as_condition(generator.conditions, {}, generator.shape)
    condition["regions"] = torch.randint(0, 40, (1, *generator.shape), dtype=torch.uint8)
    return lambda: level(x, torch.zeros(1), coarse, coarse_sigma, level.coordinates(), condition)


def step_of(forward: Callable[[], Tensor], network: nn.Module) -> Callable[[], None]:
    """One training step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-5)

    def step() -> None:
        optimizer.zero_grad()
        forward().square().mean().backward()
        optimizer.step()

    return step


def sample_cohort(folder: Path) -> Path:
    """Preprocess the six brains of the package."""
    from braindiffusion.example_data import samples_dir
    from braindiffusion.jobs import perform
    from braindiffusion.runs import PrepareRequest, Run

    data = folder / "cohort.zarr"
    for _ in perform(Run.create(PrepareRequest(data_dir=samples_dir() / "IXI-T1", out=data), folder)):
        pass
    return data


# -- cases: each runs in its own process -------------------------------------------------------------------------------


def ours_brain(repeats: int) -> Measured:
    """A brain in a warm process, default settings."""
    from braindiffusion.jobs import perform
    from braindiffusion.runs import GenerateRequest, Run

    with tempfile.TemporaryDirectory() as folder:

        def brain(**settings: Any) -> None:
            run = Run.create(GenerateRequest(device="cpu", previews=False, **settings), Path(folder))
            for _ in perform(run):
                pass

        unguided, full = (timed(lambda s=s: brain(**s), repeats) for s in ({"guidance": 1.0}, {"fast": False}))
        return {"seconds": timed(brain, repeats), "unguided": unguided, "full": full}


def ours_1mm(repeats: int) -> Measured:
    """A brain at 1 mm in a warm process, default settings and without a distilled model."""
    from braindiffusion.jobs import perform
    from braindiffusion.runs import GenerateRequest, Run

    def brain(folder: str, **settings: Any) -> None:
        request = GenerateRequest(model="brain-1mm", device="cpu", previews=False, **settings)
        for _ in perform(Run.create(request, Path(folder))):
            pass

    with tempfile.TemporaryDirectory() as folder:
        seconds, peak_gb = timed(lambda: brain(folder), 1), peak_memory_gb()
        full = timed(lambda: brain(folder, fast=False), 1)  # takes more, and comes last
        return {"seconds": seconds, "peak_gb": peak_gb, "full": full, "full peak_gb": peak_memory_gb()}


def ours_shell(repeats: int) -> Measured:
    """A brain from the shell: interpreter, imports, weights, sampling, writing."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "braindiffusion", "generate", "--out", folder, "--overwrite", "--device", "cpu"]
        brains = {"seconds": words, "full": [*words, "--no-fast"]}

        def generate(name: str) -> None:
            subprocess.run(brains[name], check=True, capture_output=True)

        return {name: timed(partial(generate, name), min(repeats, 2)) for name in brains}


def ours_evaluations(repeats: int) -> Measured:
    """An evaluation of each level."""
    generator = cascade()
    with torch.inference_mode():
        return {f"level {i}": timed(level_forward(generator, i), repeats) for i in range(generator.levels)}


def ours_step(repeats: int) -> Measured:
    """A training step of every level on one whole volume."""
    generator = cascade()
    levels = [generator.cascade.level(i) for i in range(generator.levels)]
    return {"seconds": sum(timed(step_of(level_forward(generator, i), one), repeats) for i, one in enumerate(levels))}


def monai_brain(repeats: int) -> Measured:
    with torch.inference_mode():
        return {"seconds": EVALUATIONS * timed(monai_forward(monai_network(1).eval(), 1, SHAPE), 1)}


def haar_brain(repeats: int) -> Measured:
    with torch.inference_mode():
        return {"seconds": EVALUATIONS * timed(monai_forward(monai_network(8).eval(), 8, HAAR), repeats)}


def ours_level(index: int, repeats: int) -> Measured:
    """Steps of one level of the preset `laptop` with batches of the sample cohort, by brain of the batch."""
    from braindiffusion.cohort.store import Cohort
    from braindiffusion.models.cascade import Cascade
    from braindiffusion.runs import TrainRequest
    from braindiffusion.training.distributed import Distributed
    from braindiffusion.training.patches import PatchDataset
    from braindiffusion.training.presets import preset
    from braindiffusion.training.trainer import LevelTrainer
    from braindiffusion.training.warm_start import configuration_of

    request = TrainRequest(data=Path(os.environ[COHORT_VARIABLE]), preset="laptop", device="cpu")
    cohort, chosen = Cohort.open(request.data), preset("laptop")
    rows = list(range(len(cohort)))
    cascade = Cascade(configuration_of(request, chosen, cohort, rows, None))
    trainer = LevelTrainer(Distributed(request), cascade, index, chosen.recipes[index], 0)
    patches = PatchDataset(cohort, cascade, index, rows, 2, 0)
    seconds = [done.seconds for done in trainer.run(patches, 2 * repeats + 2)]
    return {"seconds": median(seconds[-repeats:]) / trainer.samples}


def ours_training(repeats: int) -> Measured:
    """Steps of the preset `laptop`, each level in a process of its own; and a whole run, with checkpoints and samples.

    The peak is that of the largest level.
    """
    from braindiffusion.example_data import samples_dir
    from braindiffusion.runs import Run

    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/cohort.zarr"
        environment = {**os.environ, COHORT_VARIABLE: data, "BRAINDIFFUSION_RUNS": folder}
        options = f"prepare {samples_dir() / 'IXI-T1'} --out {data}"
        # Not here: the peak of a process counts the memory of the one that started it.
        words = [sys.executable, "-m", "braindiffusion", *options.split()]
        subprocess.run(words, check=True, capture_output=True, env=environment)
        words = [sys.executable, __file__, "--repeats", str(repeats), "--case"]
        levels = []
        for case in LEVEL_CASES:
            done = subprocess.run([*words, case], check=True, capture_output=True, text=True, env=environment)
            levels.append(json.loads(done.stdout.splitlines()[-1]))
        options = f"--data {data} --preset laptop --epochs 1.6 --device cpu --name whole --out {folder}/model"
        command = [sys.executable, "-m", "braindiffusion", "train", *options.split()]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status):
            raise RuntimeError(Run.open(Path(folder, "whole")).state)
    found = {f"level {i} gb": one["peak_gb"] for i, one in enumerate(levels)}
    found |= {"seconds": sum(one["seconds"] for one in levels), "run_gb": usage.ru_maxrss / 1e6}
    return found | {"peak_gb": max(one["peak_gb"] for one in levels)}


def monai_step(repeats: int) -> Measured:
    network = monai_network(1)
    return {"seconds": timed(step_of(monai_forward(network, 1, SHAPE), network), 1)}


def haar_step(repeats: int) -> Measured:
    network = monai_network(8)
    return {"seconds": timed(step_of(monai_forward(network, 8, HAAR), network), repeats)}


ALIKE = (64, 128)
"""Widths of the networks that are compared like for like, with two blocks a resolution and attention at the coarse."""
ALIKE_SHAPE = (20, 26, 22)


def _our_alike() -> tuple[nn.Module, Callable[[], Tensor]]:
    from braindiffusion.models.cascade.config import UNetConfig
    from braindiffusion.models.cascade.unet import UNet

    network = UNet(UNetConfig(widths=ALIKE, blocks=(2, 2), attention=(False, True)), 8, 8, 1)
    x, coordinates = torch.randn(1, 8, *ALIKE_SHAPE), torch.randn(1, 3, *ALIKE_SHAPE)
    return network, lambda: network(x, torch.zeros(1, 1), coordinates)


def _alike(network: nn.Module, forward: Callable[[], Tensor], repeats: int) -> Measured:
    with torch.inference_mode():
        seconds = timed(forward, repeats)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    return {"seconds": seconds, "step": timed(step_of(forward, network), repeats), "million parameters": millions}


def ours_alike(repeats: int) -> Measured:
    return _alike(*_our_alike(), repeats)


def monai_alike(repeats: int) -> Measured:
    network = monai_network(8, ALIKE, 2)
    return _alike(network, monai_forward(network, 8, ALIKE_SHAPE), repeats)


def convolutions(repeats: int) -> Measured:
    """Share of the convolution throughput that oneDNN reaches alone, at the finest level."""
    generator = cascade()
    level = generator.cascade.level(generator.levels - 1)
    seen: list[tuple[nn.Module, Tensor]] = []
    for module in level.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda module, given, _: seen.append((module, given[0].clone())))
    forward = level_forward(generator, generator.levels - 1)
    with torch.inference_mode():
        forward()
        calls = list(seen)
        for module in level.modules():
            module._forward_hooks.clear()
        whole = timed(forward, repeats)
        alone = sum(timed(lambda m=m, x=x: m(x), repeats) for m, x in calls)
    return {"seconds": whole, "alone": alone}


def plugin_import(repeats: int) -> Measured:
    """Import of the plugin and of its largest dock, in an interpreter that has loaded napari and its libraries."""
    for package in ("braindiffusion", "napari_braindiffusion"):  # as an installer does it
        compileall.compile_dir(Path(__file__).parents[1] / "src" / package, quiet=1)
    found: Measured = {}
    for name in ("napari_braindiffusion", "napari_braindiffusion.docks.generate"):
        code = f"""
import sys, time
import napari, magicgui.widgets, qtpy.QtWidgets, npe2, numpy, pydantic, superqt, pandas, nibabel
from napari.qt import QtViewer
begun = time.perf_counter()
import {name}
print(time.perf_counter() - begun, int("torch" in sys.modules))
"""
        said = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(repeats)]
        words = [one.stdout.split() for one in said]
        found[name] = median(float(one[0]) for one in words)
        found["torch"] = float(any(int(one[1]) for one in words))
    return found


def voxels(repeats: int) -> Measured:
    """Processor seconds for a million coefficients: the network of the finest level, and the peers', by voxel size.

    MONAI's network on the voxels of 1 mm is left out: it takes minutes.
    """
    level = cascade().cascade.level(3)
    peers = {"haar ": monai_network(8).eval(), "monai ": monai_network(1).eval()}
    found = {}

    def ours(grid: tuple[int, ...]) -> Callable[[], Tensor]:
        x, coarse = torch.randn(1, level.outputs, *grid), torch.randn(1, 1, *grid)
        where = level.coordinates(size=grid)
        return lambda: level(x, torch.zeros(1), coarse, torch.ones(1), where)

    with torch.inference_mode():
        for millimetres, grid in ((4, ALIKE_SHAPE), (2, HAAR), (1, SHAPE)):
            works = {"": (ours(grid), grid)}
            halved = tuple(-(-side // 4) * 4 for side in grid)  # as its network can halve
            works["haar "] = (monai_forward(peers["haar "], 8, halved), halved)
            if millimetres > 1:
                works["monai "] = (monai_forward(peers["monai "], 1, tuple(2 * side for side in grid)), grid)
            for name, (work, sites) in works.items():
                found[f"{name}{millimetres} mm"] = processor_seconds(work, repeats) / (8e-6 * math.prod(sites))
    return found


def recipes(repeats: int) -> Measured:
    """Processor seconds until the loss of the former training recipe: see `measure_recipes.py`. Needs a cohort."""
    script = str(Path(__file__).parent / "measure_recipes.py")
    words = [sys.executable, script, os.environ[COHORT_VARIABLE], "--levels", "0", "1", "--steps", "90"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    found: Measured = {}
    for one in map(json.loads, done.stdout.splitlines()):
        found |= {f"former {one['level']}": one["former seconds"]}
        found |= {f"present {one['level']}": one["present seconds"]} if one["present seconds"] else {}
    return found


def viewer(repeats: int) -> Measured:
    """Docks, layers and previews in the viewer: see `measure_viewer.py`. Left out where there is no screen."""
    here = Path(__file__).parent
    words = [str(here.parent / "scripts" / "with-screen"), sys.executable, str(here / "measure_viewer.py")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    docks = {name: one for name, one in found.items() if "import" in one}
    slowest = max(docks, key=lambda name: docks[name]["seconds"])
    told = {f"{case}: {name}": value for case, one in found.items() for name, value in one.items()}
    return {"slowest dock": docks[slowest]["seconds"], **told}


def prepared(repeats: int) -> Measured:
    """Preprocessing of the six brains of the package with all cores, imports of the worker processes included."""
    from braindiffusion.example_data import samples_dir
    from braindiffusion.jobs import perform
    from braindiffusion.runs import PrepareRequest, Run

    def prepare() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "cohort.zarr")
            for _ in perform(Run.create(PrepareRequest(data_dir=samples_dir() / "IXI-T1", out=out), Path(folder))):
                pass

    return {"seconds": timed(prepare, 1)}


def processes(repeats: int) -> Measured:
    """A training step (level 2 of `laptop`) by one process of one thread, and by two with twice the batch (DDP).

    Also by two processes that have nothing to do with each other: what they share is the memory of the machine.
    """
    from braindiffusion.runs import Metric, Run

    found: Measured = {}
    with tempfile.TemporaryDirectory() as folder:
        data = sample_cohort(Path(folder))
        environment = {**os.environ, "BRAINDIFFUSION_RUNS": folder, "OMP_NUM_THREADS": "1"}

        def begun(name: str, world: int = 1) -> "subprocess.Popen[bytes]":
            words = f"-m braindiffusion train --data {data} --out {folder}/out{name} --name {name} --preset laptop"
            launch = f"-m torch.distributed.run --standalone --nproc-per-node {world}" if world > 1 else ""
            options = f"--level 2 --epochs {16 * world} --device cpu --precision float32"
            command = [sys.executable, *launch.split(), *words.split(), *options.split()]
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        for together in ({"1": 1}, {"2": 2}, {"apart": 1, "other": 1}):
            started = [begun(name, world) for name, world in together.items()]
            if sum(process.wait() for process in started):
                raise RuntimeError(f"A training failed: {', '.join(together)}.")
        for name in ("1", "2", "apart"):
            metrics = [e.values for e in Run.open(Path(folder, name)).events() if isinstance(e, Metric)]
            steps = [one for one in metrics if "seconds_per_step" in one]
            late = steps[len(steps) // 2 :]  # the first ones wait for augmented copies
            found[f"step {name}"] = median(one["seconds_per_step"] for one in late)
            found[f"waiting {name}"] = median(one["waiting_for_data"] for one in late)
    shares = {"efficiency": found["step 1"] / found["step 2"], "exchange": found["step apart"] / found["step 2"]}
    return found | shares


GPU = torch.device("cuda")
"""Device of the cases `gpu_...`; the tests try them on a CPU."""
GPU_MODELS = {"2 mm": "ixi-2mm", "1 mm": "brain-1mm"}
GPU_PRESETS: dict[str, dict[str, int]] = {"gpu-8gb": {"batch_size": 4, "accumulate": 4}, "gpu-80gb": {}}
"""Presets whose training step is measured, with changes of their recipes."""
GPU_SHAPE, GPU_SPACING, GPU_STEPS = (160, 208, 176), 1.0, 12


def gpu_peak() -> float:
    """Return the largest memory in GB that tensors took of the GPU since the last call."""
    if GPU.type != "cuda":
        return 0.0
    peak = torch.cuda.max_memory_allocated(GPU) / 1e9
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(GPU)
    return peak


def gpu_brain(repeats: int) -> Measured:
    """A brain of 2 mm and of 1 mm in a warm process: sampling alone, as it is and compiled, and the whole job."""
    from braindiffusion.devices import COMPILE_VARIABLE, CompiledNetwork
    from braindiffusion.generation.plan import GenerationPlan
    from braindiffusion.jobs import perform
    from braindiffusion.jobs.generate import segment_sample
    from braindiffusion.runs import GenerateRequest, Run

    def sampled(request: GenerateRequest, folder: Path) -> float:
        """Return the seconds of sampling alone; the region map is drawn before."""
        plan = GenerationPlan(request, Run.create(request, folder), segment_sample, resume=False)
        plan.conditions.tensors([1], plan.device)
        begun = perf_counter()
        *_, step = plan.steps([1])
        step.volume().cpu()
        return perf_counter() - begun

    def job(request: GenerateRequest, folder: Path) -> None:
        for _ in perform(Run.create(request, folder)):
            pass

    found: Measured = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, model in GPU_MODELS.items():
            request = GenerateRequest(model=model, device=str(GPU), previews=False)
            for what, compiles in ((size, "never"), (f"{size} compiled", "always")):
                os.environ[COMPILE_VARIABLE] = compiles
                gpu_peak()
                seconds = [sampled(request, folder) for _ in range(repeats + 2)]
                found |= {f"{what} first": seconds[0], what: median(seconds[2:]), f"{what} gb": gpu_peak()}
            os.environ[COMPILE_VARIABLE] = "never"
            found[f"{size} job"] = timed(partial(job, request, folder), repeats)
    return found | {"compiling failed": float(CompiledNetwork.failed)}


class RandomBatches:
    """Batches of a level, of noise: the time of a step without any of data."""

    def __init__(self, cascade: Any, index: int) -> None:
        from braindiffusion.models.condition_tensors import as_condition

        level, config = cascade.level(index), cascade.config
        sides = tuple(min(level.config.patch or side, side) for side in level.grid)
        self.bands = torch.randn(1, 8 if level.has_coarse else config.bands(index), 1, *sides)
        self.condition = as_condition(config.condition, {}, tuple(side * level.voxels for side in sides))

    def batch(self, step: int, size: int, rows: range) -> Any:
        from braindiffusion.training.patches import Batch

        n = len(rows)
        condition = {name: one.expand(n, *one.shape[1:]) for name, one in self.condition.items()}
        bands = self.bands.expand(n, *self.bands.shape[1:])
        return Batch(step * size + rows.start, bands, torch.zeros(n, 3), condition)


def gpu_training(repeats: int) -> Measured:
    """Training steps at 1 mm by preset and level: peak memory of the GPU, seconds and model FLOP utilization."""
    from braindiffusion.models.cascade import Cascade
    from braindiffusion.models.registry import DEFAULT_MODEL, find_model, read_card
    from braindiffusion.runs import TrainRequest
    from braindiffusion.training.distributed import Distributed
    from braindiffusion.training.presets import PRESETS, preset, preset_for
    from braindiffusion.training.trainer import LevelTrainer

    conditions = read_card(find_model(DEFAULT_MODEL)).conditions
    found: Measured = {}
    order = list(PRESETS)
    for name, changes in GPU_PRESETS.items():
        if order.index(name) > order.index(preset_for(GPU)):
            continue  # it does not fit
        processes = Distributed(TrainRequest(data=Path(), preset=name, device=str(GPU)))
        config = preset(name).cascade(GPU_SHAPE, GPU_SPACING, 1, conditions)
        for index, recipe in enumerate(preset(name).recipes):
            gpu_peak()
            cascade = Cascade(config).to(GPU)
            trainer = LevelTrainer(processes, cascade, index, recipe.model_copy(update=changes), 0)
            batches: Any = RandomBatches(cascade, index)
            done = list(trainer.run(batches, GPU_STEPS))[GPU_STEPS // 2 :]
            speeds = [trainer.speed(one) for one in done]
            for key in ("seconds_per_step", "utilization"):
                found[f"{name} {index} {key}"] = median(speed[key] for speed in speeds)
            del trainer, cascade, batches
            found[f"{name} {index} gb"] = gpu_peak()
    return found


CASES: dict[str, Callable[[int], Measured]] = {
    case.__name__: case
    for case in (ours_brain, monai_brain, haar_brain, ours_shell, ours_1mm, ours_step, ours_training, monai_step,
                 haar_step, ours_alike, monai_alike, ours_evaluations, convolutions, voxels, processes, plugin_import,
                 viewer, prepared, recipes, gpu_brain, gpu_training)
}  # fmt: skip

LEVEL_CASES = {f"ours_level_{index}": partial(ours_level, index) for index in range(4)}
"""Parts of the case `ours_training`."""


# -- table -------------------------------------------------------------------------------------------------------------


def table(found: dict[str, Measured]) -> list[tuple[str, str, str, str, str]]:
    """Return rows: what, ours, peer's, ratio, target. Cases that were not run are left out."""
    rows = []

    def row(what: str, ours: tuple[str, str], peer: tuple[str, str], target: str, unit: str = "s") -> None:
        if ours[0] in found and peer[0] in found:
            a, b = found[ours[0]][ours[1]], found[peer[0]][peer[1]]
            rows.append((what, f"{a:.3g} {unit}", f"{b:.3g} {unit}", f"{b / a:.1f}", target))

    def alone(what: str, case: str, key: str, target: str, unit: str = "s", scale: float = 1.0) -> None:
        if case in found:
            rows.append((what, f"{found[case][key] * scale:.3g} {unit}", "", "", target))

    own = ("ours_brain", "seconds")
    alone("a 2 mm brain, warm process, default settings", *own, "4 s")
    alone("the same without the distilled model", "ours_brain", "full", "")
    alone("without it and without guidance", "ours_brain", "unguided", "")
    alone("a 2 mm brain from the shell", "ours_shell", "seconds", "10 s")
    alone("the same without the distilled model", "ours_shell", "full", "")
    alone("a 1 mm brain, warm process, default settings", "ours_1mm", "seconds", "30 s")
    alone("the same without the distilled model", "ours_1mm", "full", "")
    alone("memory of sampling at 1 mm, default settings", "ours_1mm", "peak_gb", "2 GB", "GB")
    alone("the same without the distilled model", "ours_1mm", "full peak_gb", "", "GB")
    for how, ours in (("", own), (" without the distilled model", ("ours_brain", "full"))):
        row(f"a brain{how}: MONAI on voxels, DDIM 50", ours, ("monai_brain", "seconds"), "100")
        row(f"a brain{how}: U-Net on one Haar level, DDIM 50", ours, ("haar_brain", "seconds"), "5")
    row("memory of sampling: MONAI on voxels", ("ours_brain", "peak_gb"), ("monai_brain", "peak_gb"), "", "GB")
    step = ("ours_step", "seconds")
    row("a training step on a volume: MONAI on voxels", step, ("monai_step", "seconds"), "30")
    row("a training step on a volume: one Haar level", step, ("haar_step", "seconds"), "3")
    preset = ("ours_training", "seconds")
    row("a training step of `laptop`, by brain: MONAI on voxels", preset, ("monai_step", "seconds"), "30")
    row("a training step of `laptop`, by brain: one Haar level", preset, ("haar_step", "seconds"), "3")
    for what, case, key in (
        ("a training step on a volume", "ours_step", "peak_gb"),
        ("a training step of `laptop`", "ours_training", "peak_gb"),
        ("a whole training of `laptop`, a step of the peer", "ours_training", "run_gb"),
    ):
        row(f"peak memory of {what}: MONAI on voxels", (case, key), ("monai_step", "peak_gb"), "10", "GB")
        row(f"peak memory of {what}: one Haar level", (case, key), ("haar_step", "peak_gb"), "2", "GB")
    row("like for like, forward", ("ours_alike", "seconds"), ("monai_alike", "seconds"), "1.5")
    row("like for like, training step", ("ours_alike", "step"), ("monai_alike", "step"), "1.5")
    if "convolutions" in found:
        whole, part = found["convolutions"]["seconds"], found["convolutions"]["alone"]
        share = f"{part / whole:.0%}"
        rows.append(
            ("share of the time that the convolutions alone take", f"{whole:.3g} s", f"{part:.3g} s", share, "60%")
        )
    for size in ("4 mm", "2 mm", "1 mm"):
        what = f"a million coefficients at {size}, processor time: one Haar level"
        row(what, ("voxels", size), ("voxels", f"haar {size}"), "equal")
    for name in ("napari_braindiffusion", "napari_braindiffusion.docks.generate"):
        alone(f"import of `{name}`", "plugin_import", name, "50 ms", "ms", 1000)
    for what, key, target, unit, scale in (
        ("the slowest of the docks, import included", "slowest dock", "0.3 s", "s", 1.0),
        ("the worker process is ready after the Generate dock", "preview: worker ready", "4 s", "s", 1.0),
        ("first preview after a change", "preview: preview", "0.5 s", "s", 1.0),
        ("the same beside a training", "preview: preview beside a training", "0.5 s", "s", 1.0),
        ("Orthoviews dock, until all canvases are painted", "orthoviews: seconds", "", "s", 1.0),
    ):
        if key in found.get("viewer", {}):
            alone(what, "viewer", key, target, unit, scale)
    for what, case, base in (
        ("longest gap while eight subjects open as layers; eight arrays in napari alone", "layers", "napari-layers"),
        ("longest gap while Orthoviews opens; one more canvas in napari alone", "orthoviews", "napari-canvas"),
    ):
        ours, peer = (f"{one}: longest gap" for one in (case, base))
        if {ours, peer} <= found.get("viewer", {}).keys():
            row(what, ("viewer", ours), ("viewer", peer), "100 ms")
    if "processes" in found:
        one, two = (f"{found['processes'][f'step {world}']:.3g} s" for world in (1, 2))
        share = f"{found['processes']['efficiency']:.0%}"
        rows.append(("a training step by one process, and by two with twice the batch (DDP)", one, two, share, "85%"))
        apart = f"{found['processes']['step apart']:.3g} s"
        share = f"{found['processes']['exchange']:.0%}"
        rows.append(("the same, of two processes that know nothing of each other", apart, two, share, ""))
        waits = f"{found['processes']['waiting 1']:.1%}"
        rows.append(("share of a training step that waits for data", waits, "", "", "5%"))
    alone("preprocessing six volumes at 2 mm, imports included", "prepared", "seconds", "", "s")
    for key in found.get("recipes", {}):
        if key.startswith("present"):
            level = key.split()[1]
            what = f"level {level}, processor time to a validation loss: the former recipe (AdamW)"
            row(what, ("recipes", key), ("recipes", f"former {level}"), "3")
    for size in GPU_MODELS:
        target = "0.2 s" if size == "1 mm" else ""
        alone(f"GPU: a {size} brain, sampling alone", "gpu_brain", size, target)
        alone("the same with compiled networks", "gpu_brain", f"{size} compiled", target)
        alone("the first of them, which compiles", "gpu_brain", f"{size} compiled first", "")
        alone("the same as a job, with region map and file", "gpu_brain", f"{size} job", "")
    for name in GPU_PRESETS:
        of_preset = {key: value for key, value in found.get("gpu_training", {}).items() if key.startswith(name)}
        if not of_preset:
            continue
        memory_of, shares = (
            [value for key, value in of_preset.items() if key.endswith(end)] for end in (" gb", "utilization")
        )
        batch = GPU_PRESETS[name].get("batch_size")
        what = f"GPU: peak memory of training at 1 mm, `{name}`" + (f" with batches of {batch}" if batch else "")
        target = "3 GB" if batch else ""
        rows.append((what, f"{max(memory_of):.3g} GB", "", "", target))
        share = f"{min(shares):.0%} to {max(shares):.0%}"
        rows.append((f"GPU: model FLOP utilization, levels of `{name}`", share, "", "", ""))
    return rows


def machine() -> dict[str, str]:
    import monai

    gpu = {"GPU": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    best = next((name for name in ("avx512_bf16", "avx512f", "avx2") if name in flags), "unknown")
    return {
        "cores": str(os.cpu_count()),
        "instructions": best,
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "monai": monai.__version__,
        **gpu,
    }


def markdown(found: dict[str, Any]) -> str:
    lines = ["| | BrainDiffusion | peer | ratio | target |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in table(found["cases"])]
    said = ", ".join(f"{name}: {value}" for name, value in found["machine"].items())
    left_out = ", ".join(f"`{name}` ({reason})" for name, reason in found.get("left out", {}).items())
    return "\n".join([*lines, "", f"Machine: {said}.", *([f"Left out: {left_out}."] if left_out else [])])


def missing(case: str, cohort: Path | None) -> str:
    """Return what a case lacks here; empty where it can be run."""
    if case.startswith("gpu_") and not torch.cuda.is_available():
        return "no CUDA device"
    return "no cohort was named" if case == "recipes" and cohort is None else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", choices=CASES | LEVEL_CASES, help="run this one in this process and print JSON")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--cohort", type=Path, help="a prepared cohort, for the case `recipes`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--page", type=Path, help="a Markdown page whose table is replaced")
    chosen = parser.parse_args()
    if chosen.case:
        found = (CASES | LEVEL_CASES)[chosen.case](chosen.repeats)
        found.setdefault("peak_gb", peak_memory_gb())
        sys.stdout.write(json.dumps(found) + "\n")
        return
    if chosen.cohort:
        os.environ[COHORT_VARIABLE] = str(chosen.cohort)
    result: dict[str, Any] = {"machine": machine(), "cases": {}, "left out": {}}
    for name in chosen.only:
        if reason := missing(name, chosen.cohort):
            result["left out"][name] = reason
            continue
        words = [sys.executable, __file__, "--case", name, "--repeats", str(chosen.repeats)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            sys.stderr.write(f"{name} failed: {done.stderr.strip().splitlines()[-1]}\n")
            result["left out"][name] = "failed"
            continue
        result["cases"][name] = json.loads(done.stdout.splitlines()[-1])
        sys.stderr.write(f"{name}: {result['cases'][name]}\n")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=2) + "\n")
    text = markdown(result)
    sys.stdout.write(text + "\n")
    if chosen.page:
        page = chosen.page.read_text()
        before, after = page.split(START)[0], page.split(END)[1]
        chosen.page.write_text(f"{before}{START}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()

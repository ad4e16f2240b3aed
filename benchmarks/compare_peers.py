"""Compare time, memory and throughput with peers on the same work, all measured in one run.

    python benchmarks/compare_peers.py --out build/bench.json --page docs/speed.md

Each case runs in a process of its own, one after the other, with all cores. Peers: MONAI's `DiffusionModelUNet` on the
voxels, as in its tutorials, and the same network on one level of a Haar transform (eight bands at half the resolution),
as in WDM (arXiv 2402.19043) and WaveDiT (arXiv 2606.08670). Their weights are random: time does not depend on them.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import torch
from torch import Tensor, nn

SHAPE = (80, 104, 88)
"""Voxels of a brain at 2 mm."""
HAAR = tuple(side // 2 for side in SHAPE)
EVALUATIONS = 50
"""Network evaluations of a peer's brain: DDIM with 50 steps."""
Measured = dict[str, float]
START, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def timed(work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of some repetitions, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        begun = perf_counter()
        work()
        seconds.append(perf_counter() - begun)
    return median(seconds[1:])


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

        unguided, fast = (timed(lambda s=s: brain(**s), repeats) for s in ({"guidance": 1.0}, {"fast": True}))
        return {"seconds": timed(brain, repeats), "unguided": unguided, "fast": fast}


def ours_1mm(repeats: int) -> Measured:
    """A brain at 1 mm in a warm process, default settings and fast."""
    from braindiffusion.jobs import perform
    from braindiffusion.runs import GenerateRequest, Run

    def brain(folder: str, **settings: Any) -> None:
        request = GenerateRequest(model="brain-1mm", device="cpu", previews=False, **settings)
        for _ in perform(Run.create(request, Path(folder))):
            pass

    with tempfile.TemporaryDirectory() as folder:
        fast = timed(lambda: brain(folder, fast=True), 1)
        return {"seconds": timed(lambda: brain(folder), 1), "fast": fast}


def ours_shell(repeats: int) -> Measured:
    """A brain from the shell: interpreter, imports, weights, sampling, writing."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "braindiffusion", "generate", "--out", folder, "--overwrite", "--device", "cpu"]
        return {"seconds": timed(lambda: subprocess.run(words, check=True, capture_output=True), min(repeats, 2))}


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
    """Seconds for a million coefficients of the network of the finest level, on grids of 4, 2 and 1 mm."""
    level = cascade().cascade.level(3)
    found = {}
    with torch.inference_mode():
        for millimetres, grid in ((4, ALIKE_SHAPE), (2, HAAR), (1, SHAPE)):
            x, coarse = torch.randn(1, level.outputs, *grid), torch.randn(1, 1, *grid)
            where = level.coordinates(size=grid)
            seconds = timed(lambda x=x, c=coarse, w=where: level(x, torch.zeros(1), c, torch.ones(1), w), repeats)
            found[f"{millimetres} mm"] = seconds / (8e-6 * x[0, 0].numel())
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
    """A training step (level 2 of `laptop`) by one process of one thread, and by two with twice the batch (DDP)."""
    from braindiffusion.example_data import samples_dir
    from braindiffusion.jobs import perform
    from braindiffusion.runs import Metric, PrepareRequest, Run

    found: Measured = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "cohort.zarr")
        for _ in perform(Run.create(PrepareRequest(data_dir=samples_dir() / "IXI-T1", out=data), Path(folder))):
            pass
        environment = {**os.environ, "BRAINDIFFUSION_RUNS": folder, "OMP_NUM_THREADS": "1"}
        for world in (1, 2):
            words = f"-m braindiffusion train --data {data} --out {folder}/out{world} --name {world} --preset laptop"
            launch = f"-m torch.distributed.run --standalone --nproc-per-node {world}" if world > 1 else ""
            options = f"--level 2 --epochs {16 * world} --device cpu --precision float32"
            command = [sys.executable, *launch.split(), *words.split(), *options.split()]
            subprocess.run(command, check=True, env=environment, capture_output=True)
            metrics = [e.values for e in Run.open(Path(folder, str(world))).events() if isinstance(e, Metric)]
            steps = [one for one in metrics if "seconds_per_step" in one]
            late = steps[len(steps) // 2 :]  # the first ones wait for augmented copies
            found[f"step {world}"] = median(one["seconds_per_step"] for one in late)
            found[f"waiting {world}"] = median(one["waiting_for_data"] for one in late)
    return found | {"efficiency": found["step 1"] / found["step 2"]}


CASES: dict[str, Callable[[int], Measured]] = {
    case.__name__: case
    for case in (ours_brain, monai_brain, haar_brain, ours_shell, ours_1mm, ours_step, monai_step, haar_step,
                 ours_alike, monai_alike, ours_evaluations, convolutions, voxels, processes, plugin_import, viewer,
                 prepared)
}  # fmt: skip


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
    alone("the same without guidance", "ours_brain", "unguided", "")
    alone("the same with *Fast*", "ours_brain", "fast", "4 s")
    alone("a 2 mm brain from the shell", "ours_shell", "seconds", "10 s")
    alone("a 1 mm brain, warm process, default settings", "ours_1mm", "seconds", "30 s")
    alone("the same with *Fast*", "ours_1mm", "fast", "30 s")
    alone("memory of sampling at 1 mm", "ours_1mm", "peak_gb", "2 GB", "GB")
    row("a brain: MONAI on voxels, DDIM 50", own, ("monai_brain", "seconds"), "100")
    row("a brain: U-Net on one Haar level, DDIM 50", own, ("haar_brain", "seconds"), "5")
    row("memory of sampling: MONAI on voxels", ("ours_brain", "peak_gb"), ("monai_brain", "peak_gb"), "", "GB")
    step = ("ours_step", "seconds")
    row("a training step on a volume: MONAI on voxels", step, ("monai_step", "seconds"), "30")
    row("a training step on a volume: one Haar level", step, ("haar_step", "seconds"), "3")
    memory = ("ours_step", "peak_gb")
    row("peak memory of training: MONAI on voxels", memory, ("monai_step", "peak_gb"), "10", "GB")
    row("peak memory of training: one Haar level", memory, ("haar_step", "peak_gb"), "2", "GB")
    row("like for like, forward", ("ours_alike", "seconds"), ("monai_alike", "seconds"), "1.5")
    row("like for like, training step", ("ours_alike", "step"), ("monai_alike", "step"), "1.5")
    if "convolutions" in found:
        whole, part = found["convolutions"]["seconds"], found["convolutions"]["alone"]
        share = f"{part / whole:.0%}"
        rows.append(
            ("share of the time that the convolutions alone take", f"{whole:.3g} s", f"{part:.3g} s", share, "60%")
        )
    for size in found.get("voxels", {}):
        if size.endswith("mm"):
            alone(f"a million coefficients at {size}", "voxels", size, "equal")
    for name in ("napari_braindiffusion", "napari_braindiffusion.docks.generate"):
        alone(f"import of `{name}`", "plugin_import", name, "50 ms", "ms", 1000)
    for what, key, target, unit, scale in (
        ("the slowest of the docks, import included", "slowest dock", "0.3 s", "s", 1.0),
        ("the worker process is ready after the Generate dock", "preview: worker ready", "4 s", "s", 1.0),
        ("first preview after a change", "preview: preview", "0.5 s", "s", 1.0),
        ("the same beside a training", "preview: preview beside a training", "0.5 s", "s", 1.0),
        ("longest gap while eight subjects open as layers", "layers: longest gap", "100 ms", "ms", 1000.0),
        ("Orthoviews dock, until all canvases are painted", "orthoviews: seconds", "", "s", 1.0),
    ):
        if key in found.get("viewer", {}):
            alone(what, "viewer", key, target, unit, scale)
    if "processes" in found:
        one, two = (f"{found['processes'][f'step {world}']:.3g} s" for world in (1, 2))
        share = f"{found['processes']['efficiency']:.0%}"
        rows.append(("a training step by one process, and by two with twice the batch (DDP)", one, two, share, "85%"))
        waits = f"{found['processes']['waiting 1']:.1%}"
        rows.append(("share of a training step that waits for data", waits, "", "", "5%"))
    alone("preprocessing six volumes at 2 mm, imports included", "prepared", "seconds", "", "s")
    return rows


def machine() -> dict[str, str]:
    import monai

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
    }


def markdown(found: dict[str, Any]) -> str:
    lines = ["| | BrainDiffusion | peer | ratio | target |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in table(found["cases"])]
    said = ", ".join(f"{name}: {value}" for name, value in found["machine"].items())
    return "\n".join([*lines, "", f"Machine: {said}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", choices=CASES, help="run this one in this process and print JSON")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--page", type=Path, help="a Markdown page whose table is replaced")
    chosen = parser.parse_args()
    if chosen.case:
        found = CASES[chosen.case](chosen.repeats)
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        sys.stdout.write(json.dumps(found) + "\n")
        return
    result: dict[str, Any] = {"machine": machine(), "cases": {}}
    for name in chosen.only:
        words = [sys.executable, __file__, "--case", name, "--repeats", str(chosen.repeats)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            sys.stderr.write(f"{name} failed: {done.stderr.strip().splitlines()[-1]}\n")
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

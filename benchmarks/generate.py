"""How long a brain takes, as a ratio to a peer in the same run.

    pip install monai; python benchmarks/generate.py

Ours is a whole brain of the packaged model, engine warm, files not counted. The peer is MONAI's `DiffusionModelUNet` of
about as many parameters, in pixel space on the same grid; one evaluation is timed and multiplied by DDIM's usual 50.
"""

import statistics
import time
from collections.abc import Callable

import torch
import typer
from monai.networks.nets import DiffusionModelUNet

from braindiffusion.generation.sample import sample_cascade
from braindiffusion.model import load_model

PEER_STEPS = 50


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@torch.inference_mode()
def main(repeats: int = 3, model: str = "ixi-2mm") -> None:
    """Time both and print the ratio."""
    cascade, _ = load_model(model)
    cascade.to(memory_format=torch.channels_last_3d)
    ours = seconds(lambda: list(sample_cascade(cascade, [0])), repeats)
    peer = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        channels=(32, 64, 128),
        attention_levels=(False, False, False),
        num_res_blocks=1,
        norm_num_groups=16,
    ).eval()
    x, t = torch.randn(1, 1, *cascade.config.shape), torch.tensor([500])
    one = seconds(lambda: peer(x, t), 1)
    sizes = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (cascade, peer)]
    print(f"threads {torch.get_num_threads()}, float32, grid {cascade.config.shape}")
    print(f"ours: {ours:.1f} s a brain ({sizes[0]:.1f} M parameters)")
    print(f"MONAI DiffusionModelUNet ({sizes[1]:.1f} M): {one:.1f} s an evaluation, {one * PEER_STEPS:.0f} s a brain")
    print(f"ratio: {one * PEER_STEPS / ours:.0f}")


if __name__ == "__main__":
    typer.run(main)

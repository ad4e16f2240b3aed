"""An untrained encoder: un-CNN, a 3D network of fixed random weights.

Encin et al. 2026 (10.64898/2026.06.07.730652), package `uncnn` (MIT). No training means no knowledge of these brains or
of this project's models. Its weights are drawn from a seed: nothing is downloaded.
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.sources import Brain

NAME = "uncnn"
GRID, SPACING = (91, 109, 91), 2.0
"""Voxels and millimetres that the network was designed for: the grid of MNI152."""


def load_uncnn() -> Callable[[Brain], NDArray[np.float32]]:
    """Return the network as a function from a brain to 9664 features.

    Brains are padded or cropped around their centre to the network's grid, and not interpolated. Intensities, edges and
    ranks, its three channels, are computed by the package.

    Raises:
        BrainDiffusionError: the package is not installed; or, when called, a brain has other voxels than 2 mm.
    """
    try:
        import uncnn  # an extra of this package
    except ImportError as error:
        msg = "The untrained encoder is not installed: pip install 'napari-braindiffusion[uncnn]'."
        raise BrainDiffusionError(msg, field="uncnn") from error
    with torch.random.fork_rng(devices=()):  # the package seeds the global generator
        net = uncnn.load_model(device="cpu")
    return lambda brain: _features(uncnn, net, brain)


@torch.inference_mode()
def _features(package: ModuleType, net: torch.nn.Module, brain: Brain) -> NDArray[np.float32]:
    if brain.spacing != SPACING:
        msg = (
            f"The untrained encoder takes voxels of {SPACING:g} mm, and these have {brain.spacing:g} mm: leave it out."
        )
        raise BrainDiffusionError(msg, field="uncnn")
    image = package.scale_robust(centred(brain.voxels))
    channels = (image, package.rank_filter(image, size=3), package.norm(package.sobel_mag(image)))
    stacked = torch.from_numpy(np.stack(channels)).float()[None]
    return np.asarray(net(stacked)[0].numpy())


def centred(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad with zeros, or crop, both ends of each axis alike to `GRID`."""
    gaps = [target - side for target, side in zip(GRID, voxels.shape, strict=True)]
    pads = [end for gap in reversed(gaps) for end in (gap // 2, gap - gap // 2)]  # negative ones crop
    return torch.nn.functional.pad(torch.from_numpy(voxels), pads).numpy()

"""A trained segmentation model and its result."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.cohort.mask import brain_mask, dark_background, largest_component
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.qc.checks import picture_problem
from braindiffusion.cohort.standardise import standardise
from braindiffusion.cohort.transforms import resample_labels
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import MIRRORED
from braindiffusion.segmentation.calibration import Calibration, age_features
from braindiffusion.segmentation.network import SITE, VOXELS, SegmentationNet, sites, voxels
from braindiffusion.volume import Volume

CLOSING_MM = 4.0
"""Radius that closes sulci in the brain mask, as in `Preprocessing`."""
CHUNK = 8192
"""Sites that are classified at once."""


@dataclass(frozen=True)
class Segmentation:
    """The segmentation of a volume.

    Attributes:
        regions: (x, y, z) uint8, values of `braindiffusion.regions`.
        mask: (x, y, z) bool, brain mask: the regions, closed and filled.
        embedding: (D,) float32, mean 0 and variance 1 over the training brains.
        age: estimated age in years; NaN of a model that was trained without ages.
    """

    regions: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    embedding: NDArray[np.float32]
    age: float


class SegmentationModel:
    """A segmentation network with its calibration.

    Args:
        net: the network, in evaluation mode.
        calibration: constants of embedding and age.
        card: the model card.
    """

    def __init__(self, net: SegmentationNet, calibration: Calibration, card: dict[str, Any]) -> None:
        self.net, self.calibration, self.card = net, calibration, card

    def predict(self, box: NDArray[np.floating]) -> Segmentation:
        """Segment a volume on the model's own grid.

        Args:
            box: (x, y, z) in [-1, 1], air -1, stripped or whole head, with the shape and spacing of the network.

        Raises:
            BrainDiffusionError: the volume has another shape.
        """
        if box.shape != self.net.config.shape:
            expected = " x ".join(map(str, self.net.config.shape))
            msg = f"The segmentation model takes volumes of {expected} voxels, not {box.shape}: use `predict_volume`."
            raise BrainDiffusionError(msg)
        regions, pooled = predict_regions(self.net, box)
        age = self.calibration.age(age_features(regions, box, pooled))
        mask = brain_mask(regions, CLOSING_MM / self.net.config.spacing)
        return Segmentation(regions, mask, self.calibration.embedding(pooled).astype(np.float32), age)

    def predict_volume(self, volume: Volume) -> Segmentation:
        """Segment any T1w volume, whole head or stripped.

        It is segmented twice: in the box of the head, to find the brain, and again in the box of that brain, with the
        brain's own range of intensities.

        Args:
            volume: one channel, of any intensity unit, orientation and spacing.

        Returns:
            The segmentation; regions and mask are on the volume's own grid, by nearest neighbour.

        Raises:
            BrainDiffusionError: the volume is empty, a slab or has several channels, is no T1w head by its picture or
                lies otherwise than its header says, or no brain is found in it.
        """
        if volume.channels != 1:
            raise BrainDiffusionError(
                f"a segmentation model takes one channel, and this volume has {volume.channels} channels"
            )
        config = self.net.config
        preprocessing = Preprocessing(spacing=config.spacing, shape=config.shape, skull="keep")
        prepared = standardise(volume, preprocessing)
        if problem := picture_problem(dark_background(volume)):
            raise BrainDiffusionError(f"{problem}, so that it cannot be segmented")
        for again in (True, False):
            found = self.predict(prepared.volume[0].astype(np.float32))
            if not found.mask.any():
                raise BrainDiffusionError("no brain is found in the volume, which has to be a T1w head")
            if again:
                where = Volume(found.mask[None].astype(np.uint8), prepared.affine)
                prepared = standardise(volume, preprocessing, where, own_mask=True)
        regions, mask = (
            resample_labels(labels.astype(np.uint8), prepared.affine, volume.shape, volume.affine)
            for labels in (found.regions, found.mask)
        )
        return replace(found, regions=regions.astype(np.uint8), mask=mask.astype(bool))


@torch.inference_mode()
def predict_regions(net: SegmentationNet, box: NDArray[np.floating]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the regions of a volume, and the features of the trunk averaged over the brain, (D,), finest first.

    Probabilities are averaged over the volume and its mirror image, which makes fewer errors than either. Only the
    largest connected component is brain: whole heads have other parts that look like it.
    """
    device = next(net.parameters()).device
    volume = torch.from_numpy(np.ascontiguousarray(box, np.float32))[None, None].to(device)
    features, scales = net.trunk(volume)
    mirrored = net.trunk(volume.flip(2))[0].flip(1)  # x runs from left to right in RAS+
    named = torch.zeros((*features.shape[:-1], VOXELS), dtype=torch.uint8, device=device)
    there = (sites(volume) > -1).any(1)  # air of a stripped brain is background
    # In chunks: 41 logits of every voxel at once would take 120 MB.
    chunks = zip(features[there].split(CHUNK), mirrored[there].split(CHUNK), strict=True)
    named[there] = torch.cat([_likeliest(net, *chunk) for chunk in chunks])
    found = voxels(named)[0].cpu().numpy()
    regions = np.where(largest_component(found > 0), found, np.uint8(0))
    brain = torch.from_numpy((regions > 0).astype(np.float32))[None, None].to(device)
    pooled = []
    for scale in scales:
        share = torch.nn.functional.avg_pool3d(brain, brain.shape[2] // scale.shape[2])
        pooled.append((scale * share).sum((0, 2, 3, 4)) / share.sum().clamp(min=1))
    return regions, torch.cat(pooled).double().cpu().numpy()


def _likeliest(net: SegmentationNet, features: Tensor, mirrored: Tensor) -> Tensor:
    """Return the likeliest region of the voxels of some sites: (sites, 8) uint8.

    Args:
        net: the network.
        features: (sites, features).
        mirrored: the same sites in the mirror image, where the two halves of a site and left and right regions change
            places.
    """
    plain, other = (net.classify(one).softmax(-1) for one in (features, mirrored))
    back = other.unflatten(1, (SITE, VOXELS // SITE)).flip(1).flatten(1, 2)[..., torch.from_numpy(MIRRORED).long()]
    likeliest: Tensor = (plain + back).argmax(-1).to(torch.uint8)
    return likeliest

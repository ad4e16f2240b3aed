"""Cross-entropy and Dice loss on a sample of the sites of each window: most in or at the brain, some outside of it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from braindiffusion.segmentation.network import SegmentationNet, sites

INSIDE, OUTSIDE = 3000, 1000
"""Sites of each window. All 21,500 would add little, and 41 logits of each voxel cost more than the trunk."""


def segmentation_loss(
    net: SegmentationNet, volume: Tensor, regions: Tensor, origin: Tensor, generator: torch.Generator
) -> Tensor:
    """Return cross-entropy plus Dice loss of sampled voxels.

    The Dice loss is one minus the mean soft Dice of the regions among them (Milletari et al. 2016, without the
    squares), background left out.

    Args:
        net: the network.
        volume: (batch, 1, x, y, z) in [-1, 1].
        regions: (batch, x, y, z) uint8.
        origin: (batch, 3).
        generator: source of the random choice of sites, on the CPU.
    """
    features, _ = net.trunk(volume, origin)
    named = sites(regions[:, None]).movedim(1, -1)  # (batch, x, y, z, 8)
    chosen = torch.cat([_choose(one, generator) + i * named[0, ..., 0].numel() for i, one in enumerate(named)])
    chosen = chosen.to(volume.device)
    log_probability = net.classify(features.flatten(0, 3)[chosen]).flatten(0, 1).float().log_softmax(-1)
    truth = named.flatten(0, 3)[chosen].flatten().long()
    right = log_probability.gather(1, truth[:, None])[:, 0]
    return _dice_loss(log_probability.exp().sum(0), right.exp(), truth) - right.mean()


def _choose(named: Tensor, generator: torch.Generator) -> Tensor:
    """Return flat indices of the sampled sites of one window, (x, y, z, 8) regions."""
    brain = (named > 0).any(-1).float()
    near = F.max_pool3d(brain[None], 3, stride=1, padding=1)[0].flatten().cpu() > 0
    picks = []
    for where, count in ((near, INSIDE), (~near, OUTSIDE)):
        index = where.nonzero()[:, 0]
        picks.append(index[torch.randperm(len(index), generator=generator)[:count]])
    return torch.cat(picks)


def _dice_loss(predicted: Tensor, right: Tensor, truth: Tensor) -> Tensor:
    """Return one minus the mean Dice of the regions that are present.

    Args:
        predicted: (regions,) sums of predicted probabilities.
        right: (voxels,) probability of the true region.
        truth: (voxels,) true region.
    """
    size = torch.bincount(truth, minlength=len(predicted)).to(predicted)
    hit = torch.zeros_like(size).index_add(0, truth, right)
    dice = (2 * hit / (size + predicted).clamp(min=1e-6))[1:]
    return 1 - dice[size[1:] > 0].sum() / (size[1:] > 0).sum().clamp(min=1)

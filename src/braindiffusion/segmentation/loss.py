"""Cross-entropy and Dice, on some sites of each window: all that touch the brain, and a few of those that do not."""

import torch
import torch.nn.functional as F
from torch import Tensor

from braindiffusion.segmentation.network import SegmentationNet, sites

INSIDE, OUTSIDE = 3000, 1000
"""Sites of each window. All 21,500 would tell little more, and 41 logits of each voxel cost more than the trunk."""


def segmentation_loss(
    net: SegmentationNet, volume: Tensor, regions: Tensor, origin: Tensor, generator: torch.Generator
) -> Tensor:
    """How far the net is from naming every voxel.

    The mean cross-entropy of the chosen voxels, and one minus the mean soft Dice of the regions among them (Milletari
    et al. 2016, without the squares), background left out.

    Args:
        net: the network.
        volume: (batch, 1, x, y, z) in [-1, 1].
        regions: (batch, x, y, z) uint8.
        origin: (batch, 3).
        generator: chooses the sites; on the CPU.
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
    """Sites of one window, (sites, 8) regions each: flat indices."""
    brain = (named > 0).any(-1).float()
    near = F.max_pool3d(brain[None], 3, stride=1, padding=1)[0].flatten().cpu() > 0
    picks = []
    for where, count in ((near, INSIDE), (~near, OUTSIDE)):
        index = where.nonzero()[:, 0]
        picks.append(index[torch.randperm(len(index), generator=generator)[:count]])
    return torch.cat(picks)


def _dice_loss(thought: Tensor, right: Tensor, truth: Tensor) -> Tensor:
    """One minus the mean Dice of the regions that are there.

    Args:
        thought: (regions,) sums of their probabilities.
        right: (voxels,) probability of the truth.
        truth: (voxels,).
    """
    size = torch.bincount(truth, minlength=len(thought)).to(thought)
    hit = torch.zeros_like(size).index_add(0, truth, right)
    dice = (2 * hit / (size + thought).clamp(min=1e-6))[1:]
    return 1 - dice[size[1:] > 0].sum() / (size[1:] > 0).sum().clamp(min=1)

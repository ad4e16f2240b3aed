"""Networks whose weights the user brings: MedicalNet's 3D ResNets and RadImageNet's 2D ResNet-50.

Chen et al. 2019 (arXiv 1904.00625); Mei et al. 2022 (10.1148/ryai.210315).

Only the weights are read (`weights_only`): no code of the file is run. Depth, block and dimension follow from the names
and shapes in it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.sources import Brain

PLANES = (64, 128, 256, 512)
SLICES = 8
"""Slices of each of the three planes that a 2D network gets."""
_CONVOLUTION: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORMALISATION: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOLING: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class Block(nn.Module):
    """A residual block: two convolutions, or a bottleneck of three; names as in the published weights."""

    def __init__(self, dims: int, channels: int, planes: int, stride: int, dilation: int, *, bottleneck: bool) -> None:
        super().__init__()
        convolution, normalisation = _CONVOLUTION[dims], _NORMALISATION[dims]
        out = planes * (4 if bottleneck else 1)
        widths = [channels, planes, planes, out] if bottleneck else [channels, planes, out]
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        strided = 1 if bottleneck else 0
        self.count = len(kernels)
        for i, kernel in enumerate(kernels):
            step, apart = (stride if i == strided else 1), (dilation if kernel == 3 else 1)
            padding = apart * (kernel // 2)
            conv = convolution(
                widths[i], widths[i + 1], kernel, stride=step, padding=padding, dilation=apart, bias=False
            )
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", normalisation(widths[i + 1]))
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                convolution(channels, out, 1, stride=stride, bias=False), normalisation(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = y if i == self.count else y.relu()
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(y + shortcut)


class ResNet(nn.Module):
    """The trunk of a ResNet; its features are the means of the last feature maps over space.

    Args:
        dims: 2, strided as RadImageNet's; 3, dilated in its last two stages as MedicalNet's.
        channels: of the input.
        blocks: in each of the four stages.
        bottleneck: blocks of three convolutions.
    """

    def __init__(self, dims: int, channels: int, blocks: tuple[int, ...], *, bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = _CONVOLUTION[dims](channels, PLANES[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = _NORMALISATION[dims](PLANES[0])
        self.maxpool = _POOLING[dims](3, stride=2, padding=1)
        width = PLANES[0]
        strides, dilations = ((1, 2, 2, 2), (1, 1, 1, 1)) if dims == 2 else ((1, 2, 1, 1), (1, 1, 2, 4))
        for stage, (planes, count) in enumerate(zip(PLANES, blocks, strict=True)):
            layers = []
            for i in range(count):
                stride = strides[stage] if i == 0 else 1
                layers.append(Block(dims, width, planes, stride, dilations[stage], bottleneck=bottleneck))
                width = planes * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) of (B, C, *space)."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x.flatten(2).mean(2)


def load_resnet(path: Path) -> Callable[[Brain], NDArray[np.float32]]:
    """Return a network as a function from a brain to features.

    In 3D it gets the whole volume, the brain scaled to mean 0 and variance 1 as MedicalNet does. In 2D it gets
    `SLICES` slices of each of the three planes, intensities in [-1, 1] in all three channels; the features of a brain
    are the means over the slices of each plane, one plane after the other.

    Args:
        path: `.pth`, `.pt` or `.safetensors`.

    Raises:
        BrainDiffusionError: the file is no such network.
    """
    try:
        weights = _named(_read(path))
        net = _build(weights)
        kept = {name: tensor for name, tensor in weights.items() if name in net.state_dict()}
        net.load_state_dict(kept)
    except (OSError, ValueError, LookupError, RuntimeError, UnpicklingError, SafetensorError) as error:
        why = str(error).splitlines()[0]
        msg = f"{path} holds no weights of a MedicalNet 3D ResNet or a RadImageNet ResNet-50 ({why})."
        raise BrainDiffusionError(msg) from error
    net.eval()
    return (lambda brain: _of_volume(net, brain)) if weights["conv1.weight"].ndim == 5 else lambda b: _of_slices(net, b)


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise KeyError("no table of weights")
    inner = content.get("state_dict", content)
    if not isinstance(inner, Mapping):
        raise KeyError("no table of weights")
    return inner


def _named(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights: drop `module.` (parallel training), and call `backbone.4` (a sequence) `layer1`."""
    sequence = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    named = {}
    for name, tensor in weights.items():
        words = name.removeprefix("module.").split(".")
        if words[0] == "backbone" and len(words) > 1 and words[1] in sequence:
            words = [sequence[words[1]], *words[2:]]
        named[".".join(words)] = tensor
    return named


def _build(weights: Mapping[str, Tensor]) -> ResNet:
    first = weights["conv1.weight"]
    blocks = tuple(
        len({name.split(".")[1] for name in weights if name.startswith(f"layer{stage}.")}) for stage in range(1, 5)
    )
    return ResNet(first.ndim - 2, first.shape[1], blocks, bottleneck="layer1.0.conv3.weight" in weights)


@torch.inference_mode()
def _of_volume(net: ResNet, brain: Brain) -> NDArray[np.float32]:
    inside = brain.voxels > 0
    values = brain.voxels[inside]
    scaled = np.where(inside, (brain.voxels - values.mean()) / (values.std() + 1e-6), 0).astype(np.float32)
    return np.asarray(net(torch.from_numpy(scaled)[None, None])[0].numpy())


@torch.inference_mode()
def _of_slices(net: ResNet, brain: Brain) -> NDArray[np.float32]:
    volume = torch.from_numpy(brain.voxels * 2 - 1)
    features = []
    for axis, length in enumerate(volume.shape):
        # Within the middle half: further out, slices are mostly air.
        places = torch.linspace(length / 4, 3 * length / 4, SLICES).long()
        slices = volume.index_select(axis, places).movedim(axis, 0)[:, None].expand(-1, 3, -1, -1)
        features.append(net(slices).mean(0))
    return np.asarray(torch.cat(features).numpy())

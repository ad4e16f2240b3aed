"""A sample as files that other tools read: NIfTI, a JSON sidecar beside each, trajectories.

A model of several modalities writes a 3D file for each, the modality in its name: what FSL's tools, and BIDS, expect of
images of one head (a 4D file would be taken for a time series).
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from braindiffusion.files import write_whole
from braindiffusion.nifti import SYNTHETIC
from braindiffusion.runs import ArtifactWritten, Event
from braindiffusion.untrusted import cell, name_part
from braindiffusion.volume import Volume, box_affine, save_volume

FRAMES_PER_LEVEL = 6
"""Most frames of a trajectory from each level. The coarsest level has two more: the noise and its first step."""


@dataclass
class Sample:
    """One brain in the making.

    Attributes:
        number: from 1.
        seed: of its noise.
        out: folder of its files.
        channels: names of the modalities; a single one is not recorded.
        frames: of its trajectory, each (channels, x, y, z).
        frame_steps: level, step and noise level (sigma) of each frame.
        previewed: when it was last shown.
    """

    number: int
    seed: int
    out: Path
    channels: Sequence[str] = ("",)
    frames: list[NDArray[np.float32]] = field(default_factory=list)
    frame_steps: list[dict[str, float]] = field(default_factory=list)
    previewed: float = -1.0

    @property
    def name(self) -> str:
        """For people."""
        return f"sample {self.number} (seed {self.seed})"

    @property
    def stems(self) -> list[str]:
        """Names of its files, one a channel, without their endings."""
        stem = f"sample_{self.number:03d}"
        if len(self.channels) == 1:
            return [stem]
        return [f"{stem}_{name_part(channel, 'The channel')}" for channel in self.channels]

    def written(self, kind: Literal["volume", "trajectory"] = "volume") -> list[ArtifactWritten]:
        """Return the events of its volumes, or of its trajectories."""
        ending, more = (".nii.gz", "") if kind == "volume" else ("_trajectory.nii.gz", ", from noise")
        return [
            ArtifactWritten(
                kind=kind,
                path=str(self.out / f"{stem}{ending}"),
                name=f"{self.name}{f' {channel}' if len(self.stems) > 1 else ''}{more}",
            )
            for stem, channel in zip(self.stems, self.channels, strict=True)
        ]

    @property
    def files(self) -> list[Path]:
        """All files that may be written of it, but for previews."""
        endings = (".nii.gz", ".json", "_trajectory.nii.gz")
        return [self.out / f"{stem}{end}" for stem in self.stems for end in endings] + [Path(self.regions.path)]

    def write(self, volume: Volume, details: dict[str, Any], frames_affine: NDArray[np.float64]) -> Iterator[Event]:
        """Write trajectories, volumes, and last their sidecars: a sample is whole where these are."""
        made = {"description": cell(f"{SYNTHETIC} {details['model']['name']} seed {self.seed}")}
        trajectories, volumes = self.written("trajectory") if self.frames else [], self.written()
        for i, event in enumerate(trajectories):
            save_volume(Volume(np.stack([frame[i] for frame in self.frames]), frames_affine, made), event.path)
        self.frames.clear()
        for i, event in enumerate(volumes):
            save_volume(Volume(volume.data[i : i + 1], volume.affine, made), event.path)
        for i, (stem, channel) in enumerate(zip(self.stems, self.channels, strict=True)):
            file = {"file": f"{stem}.nii.gz"} | ({"channel": channel} if len(self.stems) > 1 else {})
            way = {"trajectory": self.frame_steps} if self.frame_steps else {}
            same = {"voxels_sha256": voxels_sha256(volume.data[i])}
            write_whole(self.out / f"{stem}.json", json.dumps({**details, **file, **same, **way}, indent=2) + "\n")
        yield from trajectories + volumes

    @property
    def regions(self) -> ArtifactWritten:
        """Return the event of its region map."""
        path = self.out / f"sample_{self.number:03d}_regions.nii.gz"
        return ArtifactWritten(kind="labels", path=str(path), name=f"{self.name} regions")

    def write_regions(self, regions: Volume) -> ArtifactWritten:
        """Write its region map, values of `braindiffusion.regions`."""
        made = {"description": f"{SYNTHETIC} regions seed {self.seed}"}
        save_volume(replace(regions, metadata=regions.metadata | made), self.regions.path)
        return self.regions

    def preview(self, volume: Volume, folder: Path) -> ArtifactWritten:
        """Write what it is by now; of several channels the first."""
        path = folder / f"sample_{self.number:03d}_preview.nii"
        made = {"description": f"{SYNTHETIC} preview seed {self.seed}"}
        save_volume(Volume(volume.data[:1], volume.affine, made), path)
        return ArtifactWritten(kind="preview", path=str(path), name=self.name)


def voxels_sha256(data: NDArray[np.float32]) -> str:
    """Return a hash that two brains share only if they are the same to the last bit. Data is (x, y, z)."""
    return hashlib.sha256(np.ascontiguousarray(data, "<f4").tobytes()).hexdigest()


def as_volume(sample: Tensor, spacing: float) -> Volume:
    """Return a sample as a volume.

    Args:
        sample: (channels, x, y, z) in [-1, 1], background -1.
        spacing: voxel size in mm.

    Returns:
        intensities in [0, 1], background 0, the middle of the box at 0 mm.
    """
    data = (sample.float().cpu().numpy() + 1) / 2
    x, y, z = data.shape[1:]
    return Volume(np.ascontiguousarray(data.clip(0, 1)), box_affine((x, y, z), spacing))

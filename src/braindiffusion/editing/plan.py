"""An edit, loaded and checked: the scan in the model's box, the hooks, and what is written of each proposal."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.editing.files import save_like
from braindiffusion.editing.operations import check_combination, editable_model, operation
from braindiffusion.editing.scan import averages_kept, coarsened
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import file_sha256
from braindiffusion.generation.outputs import voxels_sha256
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.generator import GenerationStep
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.outputs import Outputs
from braindiffusion.runs import ArtifactWritten, EditRequest, Run
from braindiffusion.runs.provenance import provenance
from braindiffusion.runs.sidecar import sidecar_path, write_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume

SWEEP, ANIMATION = "sweep.nii.gz", "sweep.gif"


class EditPlan:
    """All that a request needs, loaded and checked before anything is generated.

    Args:
        request: what to edit.
        run: gets the volumes where the request names no folder, and previews.

    Raises:
        BrainDiffusionError: a file cannot be read, no brain lies under the mask, the model cannot edit it, or a
            proposal would take the place of a file of the user.
    """

    def __init__(self, request: EditRequest, run: Run) -> None:
        self.request, self.run = request, run
        folder = find_model(request.model)
        self.device = choose_device(request.device)
        self.dtype = choose_precision(self.device, request.precision)
        self.out = request.out or run.results
        check_combination(request)
        paths = [self._path(number) for number in range(1, self.number + 1)]
        if self.is_sweep:
            paths.append(self.out / SWEEP)
        self.outputs = Outputs.of(request)
        self.outputs.check([*paths, *map(sidecar_path, paths), *([self.out / ANIMATION] if self.is_sweep else [])])
        generator = cached_model(folder, self.device)
        self.generator, editable = generator, editable_model(generator, request)
        preprocessing = generator.card.prepared
        if preprocessing is None or generator.channels != 1:
            msg = f"The card of {request.model} describes no preprocessing of T1w brains: choose another model."
            raise BrainDiffusionError(msg, "model")
        by_level = generator.steps(request.steps)
        self.scan, self._propose = operation(request, editable, preprocessing)
        scan = self.scan.scan
        self._proposal = self._propose(1)
        self._swept: list[NDArray[np.float32]] = []
        self._proposal_details: list[dict[str, Any]] = []
        kept = self.first_level
        steps = tuple(0 if level < kept else n for level, n in enumerate(by_level))
        painted_ml = np.count_nonzero(self.scan.painted) * scan.voxel_ml
        self._details = provenance(
            run,
            request=request,
            model=model_identity(folder),
            sampler=", ".join(dict.fromkeys(generator.samplers(self._proposal.sampler)[kept:])) or None,
            steps=sum(steps),
            steps_by_level=steps,
            synthetic="part",
            scan_sha256=file_sha256(request.scan),
            mask_sha256=None if request.mask is None else file_sha256(request.mask),
            second_sha256=None if request.second is None else file_sha256(request.second),
            painted_ml=round(float(painted_ml), 3),
            box_affine=self.scan.affine.tolist(),
            precision=str(self.dtype).removeprefix("torch."),
            device=str(self.device),
        )

    @property
    def number(self) -> int:
        """Volumes to generate: proposals, or values of a sweep."""
        return self.request.num_proposals * self.request.num_values

    @property
    def first_level(self) -> int:
        """The first level that is generated; the number of levels where a brain is only deformed."""
        return self._proposal.first_level

    def steps(self, number: int) -> Iterator[GenerationStep]:
        """Generate a proposal (from 1)."""
        if number > 1:  # the first one was made for its checks
            self._proposal = self._propose(number)
        return self.generator.sample(
            [self._seed(number)],
            condition=self._proposal.condition,
            hooks=self._proposal.hooks,
            edit_band=self._proposal.edit_band,
            sampler=self._proposal.sampler,
            steps=self.request.steps,
            refine_from=self._proposal.refine_from,
            dtype=self.dtype,
        )

    def preview(self, step: GenerationStep, number: int) -> ArtifactWritten:
        """Write what a proposal is by now, in the model's box."""
        shown = self._whole(step.smooth())
        path = self.run.results / f"proposal_{number:03d}_preview.nii"
        save_volume(Volume((shown[None] + 1) / 2, self.scan.affine), path)
        return ArtifactWritten(kind="preview", path=str(path), name=f"proposal {number}")

    def write(self, step: GenerationStep, number: int) -> ArtifactWritten:
        """Write a proposal that is done, and its sidecar."""
        edited = self.scan.with_painted(self._whole(step.volume()))
        path = self._path(number)
        with self.outputs.writing():
            if self.request.super_resolution:  # on a grid of its own
                known = coarsened(load_volume(self.request.scan), self.generator.voxel_sizes[-1])
                save_volume(averages_kept(known, edited), path)
            else:
                save_like(edited, self.scan.painted, self.request.scan, path)
        if self.is_sweep:
            self._swept.append(np.asarray(edited.data[0], np.float32))
        own = dict(self._proposal.details)
        details = {
            **self._details,
            **own,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "proposal": number,
            "seed": self._seed(number),
            "voxels_sha256": voxels_sha256(load_volume(path).data[0]),
        }
        with self.outputs.writing():
            write_sidecar(path, details)
        name = own.get("name", f"proposal {number} (seed {self._seed(number)})")
        self._proposal_details.append(own)
        return ArtifactWritten(kind="volume", path=str(path), name=str(name))

    def sweep(self) -> Volume:
        """Return all values of a sweep, one for each channel, on the grid of the scan."""
        return Volume(np.stack(self._swept), self.scan.scan.affine)

    def captions(self) -> list[str]:
        """Return what each value of a sweep is, in words."""
        return [str(details["name"]) for details in self._proposal_details]

    def centre(self) -> list[float]:
        """Return the voxel of the scan in the middle of the brain, or of the painted part."""
        sides = (np.flatnonzero(self.scan.painted.any(tuple({0, 1, 2} - {axis}))) for axis in range(3))
        return [float(side[0] + side[-1]) / 2 for side in sides]

    def write_sweep(self) -> ArtifactWritten:
        """Write all values of a sweep as one 4D volume, and its sidecar."""
        path = self.out / SWEEP
        with self.outputs.writing():
            save_volume(self.sweep(), path)
            write_sidecar(path, {**self._details, "values": self._proposal_details})
        return ArtifactWritten(kind="trajectory", path=str(path), name="sweep")

    @property
    def noun(self) -> str:
        """What a volume is called in messages."""
        return "value" if self.is_sweep else "proposal"

    @property
    def is_sweep(self) -> bool:
        """Whether the volumes are the values of one."""
        return self.request.num_values > 1

    def _whole(self, volume: torch.Tensor) -> NDArray[np.float32]:
        made = volume[0, 0].float().cpu().numpy()
        whole: NDArray[np.float32] = np.where(self.scan.hole, made, self._proposal.box)
        return whole

    def _seed(self, number: int) -> int:
        return self.request.seed + (0 if self.is_sweep else number - 1)

    def _path(self, number: int) -> Path:
        return self.out / f"proposal_{number:03d}.nii.gz"

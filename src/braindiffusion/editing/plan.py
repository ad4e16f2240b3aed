"""An edit, loaded and checked: the scan in the model's box, the hooks, and what is written of each proposal."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.vectors.table import with_rows
from braindiffusion.conditions import MapField, Value
from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.editing.files import save_like
from braindiffusion.editing.inpainting import Inpainting
from braindiffusion.editing.scan import BoxedScan, box_scan, painted_voxels
from braindiffusion.editing.variation import keep_levels
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.outputs import voxels_sha256
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.models.generator import EditableGenerator, GenerationStep, Generator, Hook
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import find_model
from braindiffusion.outputs import Outputs
from braindiffusion.runs import ArtifactWritten, EditRequest, Run
from braindiffusion.runs.provenance import file_sha256, provenance
from braindiffusion.runs.sidecar import sidecar_path, write_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume


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
        paths = [self._path(number) for number in range(1, request.num_proposals + 1)]
        self._outputs = Outputs.of(request)
        self._outputs.check([*paths, *map(sidecar_path, paths)])
        generator = cached_model(folder, self.device)
        self.generator, editable = generator, _editable(generator, request)
        preprocessing = generator.card.prepared
        if preprocessing is None or generator.channels != 1:
            msg = f"The card of {request.model} describes no preprocessing of T1w brains: choose another model."
            raise BrainDiffusionError(msg, "model")
        asked = _conditions(generator, request)
        scan = load_volume(request.scan)
        if request.mask is None and not request.first_level:
            msg = "Give a mask of what shall be regenerated, or a first level above 0 to vary the whole brain."
            raise BrainDiffusionError(msg, "mask")
        painted = None if request.mask is None else painted_voxels(scan, load_volume(request.mask), request.label)
        self.scan = _boxed(request, scan, painted, preprocessing)
        maps = [field.name for field in generator.conditions.fields if isinstance(field, MapField)]
        if request.anatomy != "none":
            if not maps:
                raise BrainDiffusionError(f"The model {request.model} takes no region map: choose none.", "anatomy")
            asked[maps[0]] = self.scan.regions
        self._condition = None
        if asked:
            tensors = as_condition(generator.conditions, asked, generator.shape)
            self._condition = {name: one.to(self.device) for name, one in tensors.items()}
        self._box = torch.from_numpy(self.scan.box)[None, None].to(self.device)
        self._inpainting = Inpainting(
            editable, self._box, torch.from_numpy(self.scan.hole).to(self.device), resampling=request.resampling
        )
        self._hooks: list[Hook] = [self._inpainting.window]
        if request.first_level:
            self._hooks.append(keep_levels(editable, self._box, request.first_level))
        self._hooks.append(self._inpainting)
        self._sampler: SamplerName | None = "ddim" if request.resampling > 1 else None  # it needs one of first order
        steps = generator.steps(request.steps)
        painted_ml = np.count_nonzero(self.scan.painted) * abs(np.linalg.det(scan.affine[:3, :3])) / 1000
        self._details = provenance(
            run,
            request=request,
            model=model_identity(folder),
            sampler=", ".join(dict.fromkeys(generator.samplers(self._sampler))),
            steps=sum(steps),
            steps_by_level=steps,
            synthetic="part",
            scan_sha256=file_sha256(request.scan),
            mask_sha256=None if request.mask is None else file_sha256(request.mask),
            painted_ml=round(float(painted_ml), 3),
            box_affine=self.scan.affine.tolist(),
            precision=str(self.dtype).removeprefix("torch."),
            device=str(self.device),
        )

    def steps(self, number: int) -> Iterator[GenerationStep]:
        """Generate a proposal (from 1)."""
        return self.generator.sample(
            [self._seed(number)],
            condition=self._condition,
            hooks=self._hooks,
            edit_band=self._inpainting.edit_band,
            sampler=self._sampler,
            steps=self.request.steps,
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
        with self._outputs.writing():
            save_like(edited, self.scan.painted, self.request.scan, path)
        details = {
            **self._details,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "proposal": number,
            "seed": self._seed(number),
            "voxels_sha256": voxels_sha256(load_volume(path).data[0]),
        }
        with self._outputs.writing():
            write_sidecar(path, details)
        return ArtifactWritten(kind="volume", path=str(path), name=f"proposal {number} (seed {self._seed(number)})")

    def _whole(self, volume: torch.Tensor) -> NDArray[np.float32]:
        made = volume[0, 0].float().cpu().numpy()
        whole: NDArray[np.float32] = np.where(self.scan.hole, made, self.scan.box)
        return whole

    def _seed(self, number: int) -> int:
        return self.request.seed + number - 1

    def _path(self, number: int) -> Path:
        return self.out / f"proposal_{number:03d}.nii.gz"


def _fills(request: EditRequest) -> bool:
    """Return whether nothing of what the scan shows in the painted part is used."""
    return request.coarse == "interpolated" or request.first_level == 0


def _boxed(
    request: EditRequest, scan: Volume, painted: NDArray[np.bool_] | None, preprocessing: Preprocessing
) -> BoxedScan:
    """Return the scan in the model's box; a message about the scan names its file."""
    try:
        keep_anatomy = request.anatomy == "scan"
        return box_scan(scan, painted, preprocessing, fill=_fills(request), keep_anatomy=keep_anatomy)
    except BrainDiffusionError as error:
        if error.field is not None:
            raise
        raise BrainDiffusionError(f"{request.scan}: {str(error).rstrip('.')}.", "scan") from error


def _editable(generator: Generator, request: EditRequest) -> EditableGenerator:
    if not isinstance(generator, EditableGenerator):
        raise BrainDiffusionError(f"The model {request.model} cannot edit scans: choose a cascade.", "model")
    if request.first_level >= len(generator.voxel_sizes):
        levels = len(generator.voxel_sizes)
        msg = f"The model has {levels} levels, the first of which is 0: choose a first level of {levels - 1} at most."
        raise BrainDiffusionError(msg, "first_level")
    return generator


def _conditions(generator: Generator, request: EditRequest) -> dict[str, Value | NDArray[np.uint8]]:
    """Return the checked conditions of a request.

    Raises:
        BrainDiffusionError: the model cannot be asked for that.
    """
    for field in generator.conditions.fields:
        if isinstance(field, MapField) and field.name in request.condition:
            msg = f"The condition '{field.name}' comes from the scan when it is edited: choose a region map instead."
            raise BrainDiffusionError(msg, "condition")
    schema = generator.conditions
    return {**schema.check(with_rows(schema, request.condition))}

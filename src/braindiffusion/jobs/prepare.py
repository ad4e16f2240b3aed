"""The job `prepare`. Brains without label maps are segmented before the cohort is preprocessed."""

from collections.abc import Iterator

import numpy as np

from braindiffusion.cohort import prepare as cohort
from braindiffusion.cohort.find import find
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import REGIONS
from braindiffusion.runs import Event, Progress, Run, Warned
from braindiffusion.runs.requests import PrepareRequest
from braindiffusion.runs.sidecar import volume_stem
from braindiffusion.volume import Volume, save_volume

STAGE = "read"
_DLMUSE = np.array([region.dlmuse[0] for region in REGIONS], np.uint8)
"""A DLMUSE value of each region."""


def prepare(request: PrepareRequest, run: Run) -> Iterator[Event]:
    """Prepare a cohort. Where brains are to be stripped and no label maps are given, segment the volumes first.

    The label maps are written beside the store, in `NAME.labels/`: one for each volume, on its grid, in DLMUSE values
    (the first of each region). A label map that is newer than its volume is not made again.

    Args:
        request: the volumes, their preprocessing and the output.
        run: the run.

    Yields:
        Progress for each segmented volume, Warned for each that fails; then the events of `cohort.prepare`.

    Raises:
        BrainDiffusionError: as `cohort.prepare`; or the modality is not T1w.
    """
    if request.skull == "strip" and request.labels is None:
        if not request.modality.startswith("T1"):
            msg = f"Stripping {request.modality} needs a folder of label maps: only T1w volumes can be segmented."
            raise BrainDiffusionError(msg, field="labels")
        yield from _segment_all(request)
        request = request.model_copy(update={"labels": request.out.with_suffix(".labels")})
    yield from cohort.prepare(request, run)


def _segment_all(request: PrepareRequest) -> Iterator[Event]:
    from braindiffusion.jobs.segment import segment_file
    from braindiffusion.segmentation.files import load_segmentation_model  # imports torch

    found = cohort.choose(find(request.data_dir, modality=request.modality), request.subjects)
    volumes = [item.path for item in found if not item.problem]
    folder = request.out.with_suffix(".labels")
    model = load_segmentation_model()
    yield Progress(stage=STAGE, step=0, total=len(volumes))
    for step, path in enumerate(volumes, start=1):
        target = folder / f"{volume_stem(path)}.nii.gz"
        if not target.is_file() or target.stat().st_mtime < path.stat().st_mtime:
            try:
                volume, segmentation = segment_file(model, path)
            except BrainDiffusionError as error:
                yield Warned(message=str(error), subject=path.name)
            else:
                save_volume(Volume(_DLMUSE[segmentation.regions][None], volume.affine, {"kind": "labels"}), target)
        yield Progress(stage=STAGE, step=step, total=len(volumes), message=path.name)

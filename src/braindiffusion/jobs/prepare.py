"""The job `prepare`. Brains without label maps are segmented before the cohort is preprocessed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from braindiffusion.cohort import prepare as cohort
from braindiffusion.cohort.find import find
from braindiffusion.cohort.preprocessing import Modalities
from braindiffusion.cohort.store import check_store_path
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import file_sha256
from braindiffusion.outputs import Outputs
from braindiffusion.regions import REGIONS
from braindiffusion.runs import Event, Progress, Run, Warned
from braindiffusion.runs.requests import PrepareRequest
from braindiffusion.runs.sidecar import read_sidecar, sidecar_path, volume_stem, write_sidecar
from braindiffusion.runs.versions import versions
from braindiffusion.volume import Volume, save_volume

STAGE = "read"
_DLMUSE = np.array([region.dlmuse[0] for region in REGIONS], np.uint8)
"""A DLMUSE value of each region."""


def prepare(request: PrepareRequest, run: Run) -> Iterator[Event]:
    """Prepare a cohort. Where brains are to be stripped and no label maps are given, segment the volumes first.

    The label maps are written beside the store, in `NAME.labels/`: one for each volume, on its grid, in DLMUSE values
    (the first of each region). Its sidecar says of which file it was made: it is made again when that is another one.

    Args:
        request: the volumes, their preprocessing and the output.
        run: the run.

    Yields:
        Progress for each segmented volume, Warned for each that fails; then the events of `cohort.prepare`.

    Raises:
        BrainDiffusionError: as `cohort.prepare`; or the modality is not T1w.
    """
    check_store_path(request.out)
    if request.skull == "strip" and request.labels is None:
        asked = Modalities.parse(request.modality)
        segmented = asked.names if asked.separate else asked.names[:1]  # of channels the first is
        if strange := [name for name in segmented if not name.startswith("T1")]:
            msg = f"Stripping {strange[0]} needs a folder of label maps: only T1w volumes can be segmented."
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
    targets = {path: folder / f"{volume_stem(path)}.nii.gz" for path in volumes}
    outdated = {path: target for path, target in targets.items() if _is_outdated(target, path)}
    outputs = Outputs.of(request, volumes)
    outputs.check(file for target in outdated.values() for file in (target, sidecar_path(target)))
    model = load_segmentation_model()
    yield Progress(stage=STAGE, step=0, total=len(volumes))
    for step, (path, target) in enumerate(targets.items(), start=1):
        if path in outdated:
            try:
                volume, segmentation = segment_file(model, path)
                with outputs.writing():
                    save_volume(Volume(_DLMUSE[segmentation.regions][None], volume.affine, {"kind": "labels"}), target)
                    write_sidecar(target, {"scan_sha256": file_sha256(path), "versions": versions()})
            except BrainDiffusionError as error:
                yield Warned(message=str(error), subject=path.name)
        yield Progress(stage=STAGE, step=step, total=len(volumes), message=path.name)


def _is_outdated(target: Path, volume: Path) -> bool:
    """Return whether the label map of a volume is missing, or was made of another file."""
    if not target.is_file():
        return True
    made_of = read_sidecar(target).get("scan_sha256")
    try:
        if made_of is None:  # of an earlier version
            return target.stat().st_mtime < volume.stat().st_mtime
        return bool(made_of != file_sha256(volume))
    except OSError:  # reported when it is segmented
        return True

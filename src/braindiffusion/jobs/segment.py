"""The job `read`: volumes in; label maps, masks and one table of volumes and ages out."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from braindiffusion.cohort.find import find
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.regions import REGIONS
from braindiffusion.runs import ArtifactWritten, Event, Finished, Progress, Run, Warned
from braindiffusion.runs.files import write_whole
from braindiffusion.runs.requests import ReadRequest
from braindiffusion.runs.sidecar import volume_stem
from braindiffusion.segmentation.files import load_segmentation_model
from braindiffusion.segmentation.model import Segmentation, SegmentationModel
from braindiffusion.volume import WRITABLE_SUFFIXES, Volume, load_volume, save_volume

STAGE = "read"
COLUMNS = ("volume", "age", "brain", *(region.name for region in REGIONS[1:]))


def segment(request: ReadRequest, run: Run | None = None) -> Iterator[Event]:
    """Read one volume, or all T1w volumes of a folder.

    Args:
        request: what to read, and where to write. Of one volume, `regions.nii.gz` gets `regions_mask.nii.gz` and
            `regions.tsv` beside it; of a folder, each volume gets two files, and all of them one `readings.tsv`.
        run: the run that asks; nothing is written into its folder.

    Yields:
        Progress for each volume, ArtifactWritten for each label map, Warned for each volume that is left out, Finished.

    Raises:
        BrainDiffusionError: there is nothing to read, the output is no place for it, or nothing could be read.
    """
    targets, table = _targets(request)
    reader = load_segmentation_model(request.model)
    rows, problems = [], 0
    yield Progress(stage=STAGE, step=0, total=len(targets))
    for step, (path, regions_path, mask_path) in enumerate(targets, start=1):
        try:
            volume, reading = segment_file(reader, path)
        except BrainDiffusionError as error:
            problems += 1
            yield Warned(message=f"Left out: {error}", subject=path.name)
        else:
            save_volume(Volume(reading.regions[None], volume.affine, _labels_of(volume)), regions_path)
            save_volume(Volume(reading.mask[None].astype(np.uint8), volume.affine, _labels_of(volume)), mask_path)
            rows.append(_row(path, volume, reading))
            write_whole(table, _tsv(rows))
            yield ArtifactWritten(kind="volume", path=str(regions_path), name=f"regions of {path.name}")
        yield Progress(stage=STAGE, step=step, total=len(targets), message=path.name)
    if not rows:
        raise BrainDiffusionError(f"Nothing of {request.input} could be read: see the warnings.")
    yield Finished(message=f"{len(rows)} read; volumes (ml) and ages are in {table}", problems=problems)


def segment_file(reader: SegmentationModel, path: Path) -> tuple[Volume, Segmentation]:
    """A file, and what is read in it.

    Raises:
        BrainDiffusionError: it is no volume, or no brain is in it; the sentence names the file.
    """
    volume = load_volume(path)
    try:
        return volume, reader.predict_volume(volume)
    except BrainDiffusionError as error:
        raise BrainDiffusionError(f"{path}: {error}.") from error


def _targets(request: ReadRequest) -> tuple[list[tuple[Path, Path, Path]], Path]:
    """Each volume with the places of its label map and its mask; and the place of the table."""
    source, out = request.input, request.out
    if source.is_dir():
        if out.is_file() or out.name.endswith(WRITABLE_SUFFIXES):
            raise BrainDiffusionError(f"{source} is a folder: the output must be a folder too, not {out.name}.", "out")
        found = [item.path for item in find(source) if not item.problem]
        targets = [(p, out / f"{volume_stem(p)}_regions.nii.gz", out / f"{volume_stem(p)}_mask.nii.gz") for p in found]
        return targets, out / "readings.tsv"
    if not out.name.endswith(WRITABLE_SUFFIXES):
        raise BrainDiffusionError(f"{source} is one volume: the output must end in .nii.gz, not be {out.name}.", "out")
    name = volume_stem(out)
    return [(source, out, out.with_name(f"{name}_mask.nii.gz"))], out.with_name(f"{name}.tsv")


def _labels_of(volume: Volume) -> dict[str, object]:
    """Metadata of a label map in the space of a volume."""
    return {"kind": "labels"} | {key: volume.metadata[key] for key in ("header",) if key in volume.metadata}


def _row(path: Path, volume: Volume, reading: Segmentation) -> list[str]:
    voxel = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    counts = np.bincount(reading.regions.ravel(), minlength=len(REGIONS))[1:]
    volumes = [np.count_nonzero(reading.mask), *counts]
    return [path.name, f"{reading.age:.1f}", *(f"{count * voxel:.3f}" for count in volumes)]


def _tsv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    return text.getvalue()

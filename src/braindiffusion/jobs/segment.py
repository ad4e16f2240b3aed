"""The job `segment`: segment T1w volumes into label maps, brain masks and one table of region volumes and ages."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from braindiffusion.cohort.find import from_name, search
from braindiffusion.errors import BrainDiffusionError, about
from braindiffusion.files import write_whole
from braindiffusion.outputs import Outputs
from braindiffusion.regions import REGIONS
from braindiffusion.runs import ArtifactWritten, Event, Finished, Progress, Run, Warned
from braindiffusion.runs.requests import SegmentRequest
from braindiffusion.runs.sidecar import volume_stem
from braindiffusion.segmentation.files import load_segmentation_model
from braindiffusion.segmentation.model import Segmentation, SegmentationModel
from braindiffusion.tables import UNKNOWN
from braindiffusion.untrusted import cell
from braindiffusion.volume import WRITABLE_SUFFIXES, Volume, load_volume, save_volume

STAGE = "segment"
LONGEST_NAME = 255
"""Bytes of a file's name, which no usual file system takes more of."""
COLUMNS = ("volume", "age", "brain", *(region.name for region in REGIONS[1:]))


def segment(request: SegmentRequest, run: Run | None = None) -> Iterator[Event]:
    """Segment one volume, or all T1w volumes of a folder.

    Args:
        request: input and output. For one volume, `regions_mask.nii.gz` and `regions.tsv` are written beside
            `regions.nii.gz`; for a folder, two files for each volume, and one `readings.tsv` for all. Embeddings go
            into `regions_embedding.tsv`, or `embedding.tsv`, with a row a subject.
        run: unused; nothing is written into its folder.

    Yields:
        Progress for each volume, ArtifactWritten for each label map, Warned for each volume that is left out, Finished.

    Raises:
        BrainDiffusionError: there is no volume, the output has the wrong type or is a file of the user's, or no volume
            could be segmented.
    """
    targets, table, passed_over, left_out = _targets(request)
    outputs = Outputs.of(request, (path for path, _, _ in targets))
    embeddings = table.with_name("embedding.tsv" if request.input.is_dir() else f"{table.stem}_embedding.tsv")
    outputs.check(
        (table, *((embeddings,) if request.embedding else ()), *(path for _, *written in targets for path in written))
    )
    model = load_segmentation_model(request.model)
    rows, vectors, problems = [], [], len(left_out)
    for sentence in (*passed_over, *left_out):
        yield Warned(message=sentence)
    yield Progress(stage=STAGE, step=0, total=len(targets))
    for step, (path, regions_path, mask_path) in enumerate(targets, start=1):
        try:
            if (length := len(os.fsencode(regions_path.name))) > LONGEST_NAME:
                raise BrainDiffusionError(
                    f"{path}: its label map would have a name of {length} bytes: shorten the name."
                )
            volume, found = segment_file(model, path)
            with outputs.writing():
                save_volume(Volume(found.regions[None], volume.affine, _labels_of(volume)), regions_path)
                save_volume(Volume(found.mask[None].astype(np.uint8), volume.affine, _labels_of(volume)), mask_path)
                rows.append(_row(path, volume, found))
                write_whole(table, _tsv(COLUMNS, rows))
                if request.embedding:
                    vectors.append([cell(from_name(path)[1].subject), *(f"{x:.5g}" for x in found.embedding)])
                    names = ("participant_id", *(f"e{n:03d}" for n in range(1, len(found.embedding) + 1)))
                    write_whole(embeddings, _tsv(names, vectors))
        except BrainDiffusionError as error:
            problems += 1
            yield Warned(message=f"Left out: {error}", subject=path.name)
        else:
            yield ArtifactWritten(kind="volume", path=str(regions_path), name=f"regions of {path.name}")
        yield Progress(stage=STAGE, step=step, total=len(targets), message=path.name)
    if not rows:
        raise BrainDiffusionError(f"No volume of {request.input} could be segmented: see the warnings.")
    if request.embedding:
        yield ArtifactWritten(kind="table", path=str(embeddings), name=embeddings.name)
    yield Finished(message=f"{len(rows)} segmented; region volumes (ml) and ages are in {table}", problems=problems)


def segment_file(model: SegmentationModel, path: Path) -> tuple[Volume, Segmentation]:
    """Return the volume of a file and its segmentation.

    Raises:
        BrainDiffusionError: the file is no volume, or has no brain. The message names the file.
    """
    volume = load_volume(path)
    with about(path):
        return volume, model.predict_volume(volume)


def _targets(request: SegmentRequest) -> tuple[list[tuple[Path, Path, Path]], Path, list[str], list[str]]:
    """Return each volume with the paths of its label map and mask; the path of the table; sentences on other files."""
    source, out = request.input, request.out
    if source.is_dir():
        if out.is_file() or out.name.endswith(WRITABLE_SUFFIXES):
            raise BrainDiffusionError(f"{source} is a folder: the output must be a folder too, not {out.name}.", "out")
        every, passed_over = search(source)
        left_out = [f"{item.path.name} is left out: {item.problem}." for item in every if item.problem]
        found = [item.path for item in every if not item.problem]
        targets = [(p, out / f"{volume_stem(p)}_regions.nii.gz", out / f"{volume_stem(p)}_mask.nii.gz") for p in found]
        return targets, out / "readings.tsv", passed_over, left_out
    if not out.name.endswith(WRITABLE_SUFFIXES):
        raise BrainDiffusionError(f"{source} is one volume: the output must end in .nii.gz, not be {out.name}.", "out")
    name = volume_stem(out)
    return [(source, out, out.with_name(f"{name}_mask.nii.gz"))], out.with_name(f"{name}.tsv"), [], []


def _labels_of(volume: Volume) -> dict[str, object]:
    """Return the metadata of a label map on the grid of a volume."""
    return {"kind": "labels"} | {key: volume.metadata[key] for key in ("header",) if key in volume.metadata}


def _row(path: Path, volume: Volume, found: Segmentation) -> list[str]:
    counts = np.bincount(found.regions.ravel(), minlength=len(REGIONS))[1:]
    volumes = [np.count_nonzero(found.mask), *counts]
    return [
        cell(path.name),
        UNKNOWN if np.isnan(found.age) else f"{found.age:.1f}",
        *(f"{count * volume.voxel_ml:.3f}" for count in volumes),
    ]


def _tsv(columns: Sequence[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()

"""The job `anomaly`: where a scan differs from what a model expects of a healthy brain."""

from collections.abc import Generator as Generator_
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from braindiffusion.cohort import transforms
from braindiffusion.cohort.mask import brain_mask
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.devices import choose_device
from braindiffusion.editing.anomaly import BEYOND, NOISE_LEVELS, Person, residuals, score
from braindiffusion.editing.normative import load_normative
from braindiffusion.editing.scan import BoxedScan, box_scan
from braindiffusion.errors import BrainDiffusionError, about
from braindiffusion.files import file_sha256
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.models.generator import EditableGenerator, Generator
from braindiffusion.models.model_cache import cached_model, release
from braindiffusion.models.registry import find_model
from braindiffusion.outputs import Outputs
from braindiffusion.runs import AnomalyRequest, ArtifactWritten, Event, Finished, Progress, Run
from braindiffusion.runs.provenance import provenance
from braindiffusion.runs.sidecar import sidecar_path, volume_stem, write_sidecar
from braindiffusion.volume import Volume, load_volume, save_volume

UNIT = "healthy spreads"
SHOWN = 2 * BEYOND
"""Ends of the colour scale of a map, in healthy spreads."""


def anomaly(request: AnomalyRequest, run: Run) -> Iterator[Event]:
    """Write the anomaly map of a scan, with a sidecar that has its score.

    Args:
        request: the scan, and who it is of.
        run: gets the map where the request names no file.

    Yields:
        Progress for each reconstruction, ArtifactWritten (`volume`), Finished.

    Raises:
        BrainDiffusionError: the scan shows no T1w brain, the model has no normative table, or the output is a file of
            the user's.
    """
    out = request.out or run.results / "anomaly.nii.gz"
    outputs = Outputs.of(request)
    outputs.check((out, sidecar_path(out)))
    folder, device = find_model(request.model), choose_device(request.device)
    table = load_normative(folder)
    generator = cached_model(folder, device)
    preprocessing = _preprocessing(generator, request)
    if table.noise_levels != NOISE_LEVELS or table.spacing != preprocessing.spacing:
        msg = f"The normative table of {request.model} is of other noise levels or another voxel size than its maps"
        raise BrainDiffusionError(f"{msg}: install the model again.", "model")
    yield Progress(stage="segmenting the scan", step=0, total=1)
    scan = load_volume(request.scan)
    with about(request.scan):
        boxed = box_scan(scan, None, preprocessing)
    age = boxed.age if request.age is None else request.age
    person = Person(boxed.regions, None if np.isnan(age) else round(float(age), 1), request.sex)
    brain = brain_mask(boxed.regions, preprocessing.closing_mm / preprocessing.spacing)
    yield Progress(stage="segmenting the scan", step=1, total=1)
    try:
        residual = yield from _residual(request, generator, boxed, brain, person)
    finally:
        release(device)
    spreads = table.normalised(residual, boxed.regions, brain, person.age, person.sex)
    found = score(spreads, brain, preprocessing.spacing)
    percentile = table.percentile(found)
    own = transforms.resample_onto(spreads[None], boxed.affine, scan.shape, scan.affine)[0]
    shown = np.where(boxed.painted, own, 0).astype(np.float32)
    sidecar = provenance(
        run,
        request=request,
        model=model_identity(folder),
        sampler="one denoising step at each level",
        steps=len(NOISE_LEVELS) * request.num_seeds * len(generator.voxel_sizes),
        synthetic=False,
        unit=UNIT,
        limit=SHOWN,
        score_ml=round(found, 2),
        score_percentile=percentile,
        beyond=BEYOND,
        normative_subjects=table.subjects,
        noise_levels=table.noise_levels,
        age=person.age,
        age_estimated=request.age is None,
        sex=person.sex,
        scan_sha256=file_sha256(request.scan),
        device=str(device),
    )
    with outputs.writing():
        save_volume(Volume(shown[None], scan.affine, {k: v for k, v in scan.metadata.items() if k == "header"}), out)
        write_sidecar(out, sidecar)
    yield ArtifactWritten(kind="volume", path=str(out), name=f"anomaly of {volume_stem(request.scan)}")
    among = "" if percentile is None else f", more than in {percentile:g} % of {table.subjects} training subjects"
    yield Finished(message=f"{found:.1f} ml of the brain lie beyond {BEYOND:g} {UNIT}{among}.")


def _residual(
    request: AnomalyRequest, generator: Generator, boxed: BoxedScan, brain: NDArray[np.bool_], person: Person
) -> Generator_[Event, None, NDArray[np.float32]]:
    """Yield progress, and return the mean residual in the model's box."""
    condition = person.condition(generator)
    volume = torch.from_numpy(boxed.box)[None, None].to(generator.device)
    where = torch.from_numpy(brain).to(generator.device)
    seeds = range(request.seed, request.seed + request.num_seeds)
    total, mean = len(NOISE_LEVELS) * len(seeds), torch.zeros_like(volume)
    for step, residual in enumerate(residuals(generator, volume, condition, where, seeds), start=1):
        mean += residual / total
        yield Progress(stage="reconstructing the scan", step=step, total=total)
    return np.asarray(mean[0, 0].cpu().numpy(), np.float32)


def _preprocessing(generator: Generator, request: AnomalyRequest) -> Preprocessing:
    """Return how the model's volumes were prepared.

    Raises:
        BrainDiffusionError: it cannot reconstruct a T1w scan.
    """
    if not isinstance(generator, EditableGenerator):
        msg = f"The model {request.model} cannot reconstruct scans: choose a cascade that is not distilled."
        raise BrainDiffusionError(msg, "model")
    preprocessing = generator.card.prepared
    if preprocessing is None or generator.channels != 1:
        msg = f"The card of {request.model} describes no preprocessing of T1w brains: choose another model."
        raise BrainDiffusionError(msg, "model")
    return preprocessing

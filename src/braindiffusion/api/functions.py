"""One function for each job: its arguments become a request, and its results are returned or written."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindiffusion.api.calls import OnEvent, absolute, ask, paths_of, perform_request, with_sidecar
from braindiffusion.api.model import Model, load_model
from braindiffusion.files import PrivateFolder
from braindiffusion.models.registry import DEFAULT_MODEL, DEFAULT_SEGMENTATION_MODEL, find_model
from braindiffusion.runs import (
    AnomalyRequest,
    ArtifactWritten,
    DistillRequest,
    EditRequest,
    EvaluateRequest,
    GenerateRequest,
    PrepareRequest,
    SynthesizeRequest,
    TrainRequest,
)
from braindiffusion.volume import Volume, load_volume

if TYPE_CHECKING:
    from braindiffusion.cohort.store import Cohort
    from braindiffusion.runs.reports.evaluation import Evaluation
    from braindiffusion.runs.reports.synthesis import CohortReport


def generate(
    out: str | Path,
    model: str | Path = DEFAULT_MODEL,
    num_samples: int = 1,
    *,
    on_event: OnEvent | None = None,
    **options: Any,
) -> list[Path]:
    """Generate brains as NIfTI files with a JSON sidecar each.

    Examples:
        >>> [path.name for path in generate("brains", num_samples=2, levels=1)]
        ['sample_001.nii.gz', 'sample_002.nii.gz']

    Args:
        out: Folder of the volumes. Brains that the same request has generated there are kept.
        model: Name or path.
        num_samples: Number of brains.
        on_event: Called with each event: progress, results.
        options: Any other field of `GenerateRequest`: `seed`, `condition`, `conditions`, `guidance`, `trajectory`, ...

    Returns:
        Paths of the volumes.

    Raises:
        BrainDiffusionError: as `Model.sample`, or the folder cannot be written to.
    """
    name = str(find_model(model)) if Path(model).exists() else str(model)
    request = ask(GenerateRequest, model=name, num_samples=num_samples, out=absolute(out), **options)
    events = perform_request(request, on_event=on_event).events()
    return [Path(e.path) for e in events if isinstance(e, ArtifactWritten) and e.kind == "volume"]


def synthesize(
    out: str | Path,
    num: int = 20,
    model: str | Path = DEFAULT_MODEL,
    *,
    reference: str | Path | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> "CohortReport":
    """Generate a cohort as a BIDS dataset with region maps, participants and a report.

    Examples:
        >>> report = synthesize("cohort", 500, age="20:80", sex="balanced")    # doctest: +SKIP
        >>> report.sexes                                                      # doctest: +SKIP
        {'F': 250, 'M': 250}

    Args:
        out: Folder of the dataset. Subjects that are complete there are kept.
        num: Number of subjects.
        model: Name or path.
        reference: Prepared cohort of the training subjects; brains that are too close to one of them are generated
            again.
        on_event: Called with each event: progress, results.
        options: Any other field of `SynthesizeRequest`: `age`, `sex`, `seed`, `condition`, `redraws`, ...

    Returns:
        The report, which is also in the dataset.

    Raises:
        BrainDiffusionError: as `generate`, or the folder has other contents.
    """
    from braindiffusion.runs.reports.synthesis import read_cohort_report

    name = str(find_model(model)) if Path(model).exists() else str(model)
    fields = {"model": name, "out": absolute(out), "reference": absolute(reference)}
    request = ask(SynthesizeRequest, num=num, **fields, **options)
    run = perform_request(request, on_event=on_event)
    return read_cohort_report(request.out or run.results)


def edit(
    scan: str | Path,
    mask: str | Path | None,
    out: str | Path,
    num_proposals: int = 1,
    *,
    second: str | Path | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> list[Path]:
    """Regenerate the painted part of a scan, change a brain, interpolate between two, or increase the resolution.

    Voxels outside of the painted part, or of the brain, stay as they are, and so does the header.

    Examples:
        >>> paths = edit("scan.nii.gz", "lesions.nii.gz", "filled", num_proposals=3)    # doctest: +SKIP
        >>> older = edit("scan.nii.gz", None, "older", change={"age": 75})              # doctest: +SKIP

    Args:
        scan: A T1w volume, whole head or skull-stripped, of any voxel size and orientation.
        mask: Label map; voxels other than 0 are regenerated. None edits the whole brain.
        out: Folder of the proposals, with a JSON sidecar each.
        num_proposals: Number of proposals, each from its own seed.
        on_event: Called with each event: progress, results.
        second: A second scan, to interpolate with.
        options: Any other field of `EditRequest`: `change`, `num_values`, `super_resolution`, `first_level`, ...

    Returns:
        Paths of the proposals.

    Raises:
        BrainDiffusionError: the scan or the mask cannot be used, or a file that is not ours would be overwritten.
    """
    fields = {"scan": absolute(scan), "mask": absolute(mask), "second": absolute(second), "out": absolute(out)}
    request = ask(EditRequest, num_proposals=num_proposals, **fields, **options)
    events = perform_request(request, on_event=on_event).events()
    return [Path(e.path) for e in events if isinstance(e, ArtifactWritten) and e.kind == "volume"]


def anomaly(
    scan: str | Path, out: str | Path | None = None, *, on_event: OnEvent | None = None, **options: Any
) -> Volume:
    """Map where a scan differs from what a model expects of a healthy brain of this age and sex.

    Examples:
        >>> found = anomaly("scan.nii.gz", age=63, sex="F")    # doctest: +SKIP
        >>> found.metadata["score_ml"], found.metadata["score_percentile"]    # doctest: +SKIP

    Args:
        scan: A T1w volume, whole head or skull-stripped, of any voxel size and orientation.
        out: The map to write (`.nii.gz`), with a JSON sidecar; None writes no file.
        on_event: Called with each event.
        options: Any other field of `AnomalyRequest`: `age`, `sex`, `num_seeds`, `seed`, `model`, `device`, ...

    Returns:
        The map on the scan's grid, in healthy spreads (standard deviations of healthy people): above 0 the scan is
        brighter than expected. `metadata` is its sidecar, with `score_ml`, `score_percentile` and all settings.

    Raises:
        BrainDiffusionError: the scan cannot be used, or a file that is not ours would be overwritten.
    """
    request = ask(AnomalyRequest, scan=absolute(scan), out=absolute(out), **options)
    with PrivateFolder() as folder:
        run = perform_request(request, root=Path(folder) if out is None else None, on_event=on_event)
        (path,) = (Path(e.path) for e in run.events() if isinstance(e, ArtifactWritten))
        return with_sidecar(path)


def prepare(
    data_dir: str | Path,
    out: str | Path,
    *,
    labels: str | Path | None = None,
    participants: str | Path | None = None,
    table: str | Path | Iterable[str | Path] = (),
    on_event: OnEvent | None = None,
    **options: Any,
) -> "Cohort":
    """Preprocess a folder of volumes into a cohort. A half-written one is continued.

    Examples:
        >>> from braindiffusion.example_data import samples_dir
        >>> brains = samples_dir()
        >>> cohort = prepare(brains / "IXI-T1", "cohort.zarr", spacing=8, shape=(24, 32, 24), workers=1)
        >>> len(cohort), cohort.volumes.shape
        (6, (6, 1, 24, 32, 24))

    Args:
        data_dir: IXI as published, a BIDS dataset or any folder of volumes.
        out: The Zarr store to write.
        labels: Folder of region label maps, matched by subject; with them, skulls are stripped.
        participants: Table with id, age and sex.
        table: Tables of numbers with one row per subject, such as embeddings: each becomes a condition of the model.
        on_event: Called with each event.
        options: Any other field of `PrepareRequest`: `spacing` (mm), `shape` (voxels), `modality`, `skull`, ...

    Raises:
        BrainDiffusionError: nothing was found, or nothing could be prepared.
    """
    from braindiffusion.cohort.store import Cohort

    request = ask(
        PrepareRequest,
        data_dir=absolute(data_dir),
        out=absolute(out),
        labels=absolute(labels),
        participants=absolute(participants),
        table=paths_of(table),
        **options,
    )
    perform_request(request, on_event=on_event)
    return Cohort.open(request.out)


def train(data: str | Path, preset: str = "auto", *, on_event: OnEvent | None = None, **options: Any) -> Model:
    """Train a model on a prepared cohort.

    Examples:
        >>> model = train("cohort.zarr", "tiny", levels=(0,), epochs=1)    # doctest: +SKIP
        >>> model.card.steps                                            # doctest: +SKIP
        [1, 0, 0, 0]

    Args:
        data: A prepared cohort, or a folder of volumes, which is preprocessed first.
        preset: `tiny`, `laptop`, `laptop-regions`, `gpu-8gb`, `gpu-24gb`, `gpu-80gb`, or a file of your own; `auto`
            takes the one that suits the device.
        on_event: Called with each event: progress, losses, checkpoints.
        options: Any other field of `TrainRequest`: `epochs`, `batch_size`, `conditions`, `seed`, `device`, ...

    Returns:
        The model with the lowest validation loss; its folder is in that of the run.

    Raises:
        BrainDiffusionError: the data cannot be trained on.
    """
    request = ask(TrainRequest, data=absolute(data), preset=preset, **options)
    return load_model(perform_request(request, on_event=on_event).path)


def distill(
    model: str | Path = DEFAULT_MODEL, *, out: str | Path, on_event: OnEvent | None = None, **options: Any
) -> Model:
    """Train a copy of a model that generates in a few sampling steps and needs no guidance.

    Examples:
        >>> fast = distill("ixi-2mm", out="ixi-fast", num_samples=64, steps=4)    # doctest: +SKIP
        >>> fast.sample(seed=0)                                                 # doctest: +SKIP

    Args:
        model: The model to distil, as in `load_model`.
        out: Folder of the new model.
        on_event: Called with each event.
        options: Any other field of `DistillRequest`: `conditions`, `training_steps`, `device`, ...

    Returns:
        The new model.

    Raises:
        BrainDiffusionError: the model is no cascade, is distilled already, or takes no more steps than that.
    """
    request = ask(DistillRequest, model=str(model), out=absolute(out), **options)
    perform_request(request, on_event=on_event)
    return load_model(request.out or out)


def evaluate(
    real: str | Path | Iterable[str | Path],
    generated: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> "Evaluation":
    """Compare generated brains with real ones: quality, diversity, memorization, condition adherence.

    Examples:
        >>> report = evaluate("cohort.zarr", "brains", out="report", model="ixi-2mm")    # doctest: +SKIP
        >>> [(one.target, one.outcome) for one in report.targets]             # doctest: +SKIP

    Args:
        real: Prepared cohorts, folders of volumes, or volumes.
        generated: The same, or runs of `generate`.
        out: Folder of `report.html` and `evaluation.json`; by default that of the run.
        on_event: Called with each event.
        options: Any other field of `EvaluateRequest`: `model`, `labels`, `segmentation_model`, `features`, ...

    Raises:
        BrainDiffusionError: there are too few brains, or they cannot be compared.
    """
    from braindiffusion.runs.reports.evaluation import read_evaluation

    fields = {"real": paths_of(real), "generated": paths_of(generated), "out": absolute(out)}
    request = ask(EvaluateRequest, **fields, **options)
    run = perform_request(request, on_event=on_event)
    return read_evaluation(request.out or run.results)


def segment(volume: Volume | str | Path, model: str | Path = DEFAULT_SEGMENTATION_MODEL) -> Volume:
    """Segment the regions of a T1w brain, whole head or skull-stripped.

    Examples:
        >>> from braindiffusion.example_data import sample_t1_path
        >>> regions = segment(sample_t1_path())
        >>> 2 < regions.metadata["volumes_ml"]["left hippocampus"] < 6
        True

    Args:
        volume: The brain, or its file.
        model: Name or path of a segmentation model.

    Returns:
        A label map of the values of `braindiffusion.regions` on the grid of the volume. `metadata` has the estimated
        `age` in years (None if the model was trained without ages), and `volumes_ml` of every region.

    Raises:
        BrainDiffusionError: no brain is found in the volume.
    """
    import numpy as np

    from braindiffusion.regions import REGIONS
    from braindiffusion.segmentation import load_segmentation_model

    brain = volume if isinstance(volume, Volume) else load_volume(volume)
    found = load_segmentation_model(model).predict_volume(brain)
    sizes = np.bincount(found.regions.ravel(), minlength=len(REGIONS)) * brain.voxel_ml
    volumes = {region.name: float(sizes[region.index]) for region in REGIONS[1:]}
    age = None if np.isnan(found.age) else float(found.age)
    return Volume(found.regions[None], brain.affine, {"kind": "labels", "age": age, "volumes_ml": volumes})

"""The public functions: what the command line does, for scripts and notebooks. Needs no torch until something is made.

Each call that takes a while is a run: its folder keeps the request, the events and the versions, as everywhere. What a
job warns of becomes a Python warning; what fails is a `BrainDiffusionError`. Interrupting one (Ctrl-C, or the stop
button of a notebook) keeps what it has.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from braindiffusion.conditions import Value
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.files import PrivateFolder
from braindiffusion.jobs import perform
from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import DEFAULT_MODEL, DEFAULT_SEGMENTATION_MODEL, find_model, list_models, read_card
from braindiffusion.runs import (
    AnomalyRequest,
    ArtifactWritten,
    DistillRequest,
    EditRequest,
    EvaluateRequest,
    Event,
    Failed,
    GenerateRequest,
    PrepareRequest,
    Request,
    Run,
    SynthesizeRequest,
    TrainRequest,
    Warned,
)
from braindiffusion.runs.requests import make_request
from braindiffusion.runs.sidecar import read_sidecar
from braindiffusion.volume import Volume, load_volume

if TYPE_CHECKING:
    from braindiffusion.cohort.store import Cohort
    from braindiffusion.runs.reports.evaluation import Evaluation
    from braindiffusion.runs.reports.synthesis import CohortReport

R = TypeVar(
    "R",
    PrepareRequest,
    TrainRequest,
    DistillRequest,
    GenerateRequest,
    SynthesizeRequest,
    EditRequest,
    AnomalyRequest,
    EvaluateRequest,
)
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Model:
    """A model that makes brains.

    Attributes:
        path: Its folder.
        card: What it was trained on, and how well it does.
    """

    path: Path
    card: ModelCard = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the model, from its card."""
        return self.card.name or self.path.name

    @property
    def conditions(self) -> dict[str, str]:
        """Conditions that it can be given, and the values of each in words.

        Examples:
            >>> load_model().conditions["sex"]
            'F or M'
        """
        return self.card.conditions.choices()

    @overload
    def sample(self, num: None = None, *, seed: int = 0, trajectory: bool = False, **asked: Any) -> Volume: ...
    @overload
    def sample(self, num: int, *, seed: int = 0, trajectory: bool = False, **asked: Any) -> list[Volume]: ...

    def sample(
        self, num: int | None = None, *, seed: int = 0, trajectory: bool = False, **asked: Any
    ) -> Volume | list[Volume]:
        """Make brains, in memory. `generate` writes files.

        Examples:
            >>> model = load_model("ixi-2mm")
            >>> coarse = model.sample(seed=7, age=70, levels=1)  # the first level only: quick, and a blur
            >>> coarse.shape, coarse.spacing, coarse.metadata["seed"]
            ((80, 104, 88), (2.0, 2.0, 2.0), 7)
            >>> len(model.sample(2, levels=1))
            2

        Args:
            num: How many; None makes one, and returns it alone.
            seed: Of the first; sample i has `seed + i`, and is the same brain however many are asked for.
            trajectory: Return the way from noise instead: a channel a frame, the brain last; of several contrasts, all
                frames of the first one come first.
            asked: What to make, in the model's own fields (see `conditions`), such as `age=70`; and any other field of
                `GenerateRequest`: `guidance`, `steps`, `levels`, `batch_size`, `device`, ...

        Returns:
            Intensities in [0, 1], background 0, shape (channels, x, y, z), a channel a contrast; `metadata` is all that
            makes it again.

        Raises:
            BrainDiffusionError: the model cannot be asked for that.
        """
        options = {name: asked.pop(name) for name in list(asked) if name in GenerateRequest.model_fields}
        condition: dict[str, Value] = {**options.pop("condition", {}), **asked}
        packaged = {one.path: one.name for one in list_models()}  # a name makes it again on another machine, too
        with PrivateFolder() as folder:
            request = _ask(
                GenerateRequest,
                model=packaged.get(self.path, str(self.path)),
                num_samples=1 if num is None else num,
                seed=seed,
                condition=condition,
                trajectory=trajectory,
                **options,
            )
            run = _perform(request, root=Path(folder))
            kind = "trajectory" if trajectory else "volume"
            paths = [Path(e.path) for e in run.events() if isinstance(e, ArtifactWritten) and e.kind == kind]
            by_sample: dict[int, list[Volume]] = {}
            for volume in map(_with_sidecar, paths):  # each contrast has a file of its own
                by_sample.setdefault(volume.metadata["sample"], []).append(volume)
        made = [_joined(volumes) for volumes in by_sample.values()]
        return made[0] if num is None else made


def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> Model:
    """A model to make brains with.

    Examples:
        >>> load_model("ixi-2mm").name
        'ixi-2mm'

    Args:
        name_or_path: A packaged model's name; or path of a model folder, a checkpoint or a training run.

    Raises:
        BrainDiffusionError: there is no such model.
    """
    folder = find_model(name_or_path)
    return Model(folder, read_card(folder))


def generate(
    out: str | Path,
    model: str | Path = DEFAULT_MODEL,
    num_samples: int = 1,
    *,
    on_event: OnEvent | None = None,
    **options: Any,
) -> list[Path]:
    """Make brains as NIfTI files, a JSON sidecar beside each.

    Examples:
        >>> [path.name for path in generate("brains", num_samples=2, levels=1)]
        ['sample_001.nii.gz', 'sample_002.nii.gz']

    Args:
        out: Folder of the volumes. What the same request has made there already is left as it is.
        model: Name or path.
        num_samples: How many.
        on_event: Is called with each event: progress, results.
        options: Any other field of `GenerateRequest`: `seed`, `condition`, `conditions`, `guidance`, `trajectory`, ...

    Returns:
        Paths of the volumes.

    Raises:
        BrainDiffusionError: as `Model.sample`, or the folder cannot be written to.
    """
    name = str(find_model(model)) if Path(model).exists() else str(model)
    request = _ask(GenerateRequest, model=name, num_samples=num_samples, out=_absolute(out), **options)
    events = _perform(request, on_event=on_event).events()
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
        out: Folder of the dataset. Subjects that are complete there are left as they are.
        num: How many subjects.
        model: Name or path.
        reference: Prepared cohort of the training subjects; brains too close to one of them are drawn again.
        on_event: Is called with each event: progress, results.
        options: Any other field of `SynthesizeRequest`: `age`, `sex`, `seed`, `condition`, `redraws`, ...

    Returns:
        The report, which is also in the dataset.

    Raises:
        BrainDiffusionError: as `generate`, or the folder holds something else.
    """
    from braindiffusion.runs.reports.synthesis import read_cohort_report

    name = str(find_model(model)) if Path(model).exists() else str(model)
    fields = {"model": name, "out": _absolute(out), "reference": _absolute(reference)}
    request = _ask(SynthesizeRequest, num=num, **fields, **options)
    run = _perform(request, on_event=on_event)
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

    Every voxel outside of the painted part, or of the brain, and the header stay as they are.

    Examples:
        >>> paths = edit("scan.nii.gz", "lesions.nii.gz", "filled", num_proposals=3)    # doctest: +SKIP
        >>> older = edit("scan.nii.gz", None, "older", change={"age": 75})              # doctest: +SKIP

    Args:
        scan: A T1w volume, whole head or skull-stripped, of any spacing and orientation.
        mask: Label map; voxels other than 0 are regenerated. None is the whole brain.
        out: Folder of the proposals, a JSON sidecar beside each.
        num_proposals: How many.
        on_event: Is called with each event: progress, results.
        second: A second scan, to interpolate with.
        options: Any other field of `EditRequest`: `change`, `num_values`, `super_resolution`, `first_level`, ...

    Returns:
        Paths of the proposals.

    Raises:
        BrainDiffusionError: the scan or the mask cannot be used, or a file of yours is in the way.
    """
    fields = {"scan": _absolute(scan), "mask": _absolute(mask), "second": _absolute(second), "out": _absolute(out)}
    request = _ask(EditRequest, num_proposals=num_proposals, **fields, **options)
    events = _perform(request, on_event=on_event).events()
    return [Path(e.path) for e in events if isinstance(e, ArtifactWritten) and e.kind == "volume"]


def anomaly(
    scan: str | Path, out: str | Path | None = None, *, on_event: OnEvent | None = None, **options: Any
) -> Volume:
    """Map where a scan differs from a healthy brain of this age and sex, as a model has learnt it.

    Examples:
        >>> found = anomaly("scan.nii.gz", age=63, sex="F")    # doctest: +SKIP
        >>> found.metadata["score_ml"], found.metadata["score_percentile"]    # doctest: +SKIP

    Args:
        scan: A T1w volume, whole head or skull-stripped, of any spacing and orientation.
        out: The map to write (`.nii.gz`), a JSON sidecar beside it; None keeps no file.
        on_event: Is called with each event.
        options: Any other field of `AnomalyRequest`: `age`, `sex`, `num_seeds`, `seed`, `model`, `device`, ...

    Returns:
        The map on the scan's grid, in healthy spreads from what is expected; `metadata` is its sidecar: `score_ml`,
        `score_percentile` and all that makes it again.

    Raises:
        BrainDiffusionError: the scan cannot be used, or a file of yours is in the way.
    """
    request = _ask(AnomalyRequest, scan=_absolute(scan), out=_absolute(out), **options)
    with PrivateFolder() as folder:
        run = _perform(request, root=Path(folder) if out is None else None, on_event=on_event)
        (path,) = (Path(e.path) for e in run.events() if isinstance(e, ArtifactWritten))
        return _with_sidecar(path)


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
    """Turn a folder of volumes into a prepared cohort. A half-written one is continued.

    Examples:
        >>> from braindiffusion.example_data import samples_dir
        >>> brains = samples_dir()
        >>> cohort = prepare(brains / "IXI-T1", "cohort.zarr", spacing=8, shape=(24, 32, 24), workers=1)
        >>> len(cohort), cohort.volumes.shape
        (6, (6, 1, 24, 32, 24))

    Args:
        data_dir: IXI folder, BIDS dataset or any folder of volumes.
        out: The Zarr store to write.
        labels: Folder of region label maps, matched by subject; with them, skulls are stripped.
        participants: Table with id, age and sex.
        table: Tables of numbers with a row a subject, such as embeddings: each becomes a condition of the model.
        on_event: Is called with each event.
        options: Any other field of `PrepareRequest`: `spacing` (mm), `shape` (voxels), `modality`, `skull`, ...

    Raises:
        BrainDiffusionError: nothing was found, or nothing could be prepared.
    """
    from braindiffusion.cohort.store import Cohort

    request = _ask(
        PrepareRequest,
        data_dir=_absolute(data_dir),
        out=_absolute(out),
        labels=_absolute(labels),
        participants=_absolute(participants),
        table=_paths(table),
        **options,
    )
    _perform(request, on_event=on_event)
    return Cohort.open(request.out)


def train(data: str | Path, preset: str = "auto", *, on_event: OnEvent | None = None, **options: Any) -> Model:
    """Train a model on a prepared cohort.

    Examples:
        >>> model = train("cohort.zarr", "tiny", levels=(0,), epochs=1)    # doctest: +SKIP
        >>> model.card.steps                                            # doctest: +SKIP
        [1, 0, 0, 0]

    Args:
        data: A prepared cohort, or a folder that `prepare` understands.
        preset: `tiny`, `laptop`, `laptop-regions`, `gpu-8gb`, `gpu-24gb`, `gpu-80gb`, or a file of your own; `auto`
            takes the one that suits the device.
        on_event: Is called with each event: progress, losses, checkpoints.
        options: Any other field of `TrainRequest`: `epochs`, `batch_size`, `conditions`, `seed`, `device`, ...

    Returns:
        The best that was learnt; its folder lies in the run's.

    Raises:
        BrainDiffusionError: the data cannot be trained on.
    """
    request = _ask(TrainRequest, data=_absolute(data), preset=preset, **options)
    return load_model(_perform(request, on_event=on_event).path)


def distill(
    model: str | Path = DEFAULT_MODEL, *, out: str | Path, on_event: OnEvent | None = None, **options: Any
) -> Model:
    """Train a copy of a model that generates in a few sampling steps, with the guidance learnt along.

    Examples:
        >>> fast = distill("ixi-2mm", out="ixi-fast", num_samples=64, steps=4)    # doctest: +SKIP
        >>> fast.sample(seed=0)                                                 # doctest: +SKIP

    Args:
        model: The model to distil, as in `load_model`.
        out: Folder of the new model.
        on_event: Is called with each event.
        options: Any other field of `DistillRequest`: `conditions`, `training_steps`, `device`, ...

    Returns:
        The new model.

    Raises:
        BrainDiffusionError: the model is no cascade, is distilled already, or takes no more steps than that.
    """
    request = _ask(DistillRequest, model=str(model), out=_absolute(out), **options)
    _perform(request, on_event=on_event)
    return load_model(request.out or out)


def evaluate(
    real: str | Path | Iterable[str | Path],
    generated: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> "Evaluation":
    """Compare generated brains with real ones: is it any good, is it copied?

    Examples:
        >>> report = evaluate("cohort.zarr", "brains", out="report", model="ixi-2mm")    # doctest: +SKIP
        >>> [(one.target, one.outcome) for one in report.targets]             # doctest: +SKIP

    Args:
        real: Prepared cohorts, folders of volumes, or volumes.
        generated: The same.
        out: Folder of `report.html` and `evaluation.json`; the run's by default.
        on_event: Is called with each event.
        options: Any other field of `EvaluateRequest`: `model`, `labels`, `reader`, `features`, ...

    Raises:
        BrainDiffusionError: there are too few brains, or they cannot be compared.
    """
    from braindiffusion.runs.reports.evaluation import read_evaluation

    fields = {"real": _paths(real), "generated": _paths(generated), "out": _absolute(out)}
    request = _ask(EvaluateRequest, **fields, **options)
    run = _perform(request, on_event=on_event)
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
        Values of `braindiffusion.regions` on the volume's own grid. `metadata` holds the predicted `age` in
        years (None where the model was trained without ages), and `volumes_ml` of every region.

    Raises:
        BrainDiffusionError: no brain is found in it.
    """
    import numpy as np

    from braindiffusion.regions import REGIONS
    from braindiffusion.segmentation import load_segmentation_model

    brain = _volume(volume)
    found = load_segmentation_model(model).predict_volume(brain)
    voxel = abs(float(np.linalg.det(brain.affine[:3, :3]))) / 1000
    sizes = np.bincount(found.regions.ravel(), minlength=len(REGIONS)) * voxel
    volumes = {region.name: float(sizes[region.index]) for region in REGIONS[1:]}
    age = None if np.isnan(found.age) else float(found.age)
    return Volume(found.regions[None], brain.affine, {"kind": "labels", "age": age, "volumes_ml": volumes})


read = segment  # the name that it had


def _volume(volume: Volume | str | Path) -> Volume:
    return volume if isinstance(volume, Volume) else load_volume(volume)


def _perform(request: Request, *, root: Path | None = None, on_event: OnEvent | None = None) -> Run:
    """Do a job to its end.

    Raises:
        BrainDiffusionError: it failed.
    """
    run = Run.create(request, root)
    events = perform(run)
    try:
        for event in events:
            if isinstance(event, Warned):
                told = f"{event.subject}: {event.message}" if event.subject else event.message
                warnings.warn(told, stacklevel=3)
            if on_event is not None:
                on_event(event)
            if isinstance(event, Failed):
                raise _with_argument(BrainDiffusionError(event.message, event.field))
    finally:
        events.close()
    return run


def _ask(kind: type[R], **fields: Any) -> R:
    """Return a request, or raise one sentence on what is wrong with it, with the name of the argument."""
    try:
        return make_request(kind, **fields)
    except BrainDiffusionError as error:
        raise _with_argument(error) from error


def _with_argument(error: BrainDiffusionError) -> BrainDiffusionError:
    """Add the name of the argument that an error is about."""
    hint = f" (Argument: {error.field}.)" if error.field else ""
    return BrainDiffusionError(f"{error}{hint}", error.field)


def _with_sidecar(path: Path) -> Volume:
    """Return a volume with all that its sidecar tells, and nothing of the folder that it lay in."""
    sidecar = read_sidecar(path)
    for passing in ("run", "file"):
        sidecar.pop(passing, None)
    return replace(load_volume(path), metadata=sidecar)


def _joined(contrasts: list[Volume]) -> Volume:
    """Return the contrasts of one brain as the channels of one volume."""
    import numpy as np

    first = contrasts[0]
    if len(contrasts) == 1:
        return first
    metadata = {name: value for name, value in first.metadata.items() if name not in ("channel", "voxels_sha256")}
    names = [one.metadata["channel"] for one in contrasts]
    return replace(first, data=np.concatenate([one.data for one in contrasts]), metadata=metadata | {"channels": names})


@overload
def _absolute(path: str | Path) -> Path: ...
@overload
def _absolute(path: None) -> None: ...
def _absolute(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path).expanduser().absolute()


def _paths(paths: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    some = [paths] if isinstance(paths, str | Path) else paths
    return tuple(_absolute(path) for path in some)

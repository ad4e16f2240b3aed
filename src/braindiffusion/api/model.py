"""A model in Python, and the brains that it generates in memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from braindiffusion.api.calls import ask, joined, perform_request, with_sidecar
from braindiffusion.conditions import Value
from braindiffusion.files import PrivateFolder
from braindiffusion.models.card import ModelCard
from braindiffusion.models.registry import DEFAULT_MODEL, find_model, list_models, read_card
from braindiffusion.runs import ArtifactWritten, GenerateRequest
from braindiffusion.volume import Volume


@dataclass(frozen=True)
class Model:
    """A model that generates brains.

    Attributes:
        path: Its folder.
        card: Training data, conditions, figures and licence.
    """

    path: Path
    card: ModelCard = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the model, from its card."""
        return self.card.name or self.path.name

    @property
    def conditions(self) -> dict[str, str]:
        """Conditions of the model, with the possible values of each in words.

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
        """Generate brains in memory. `braindiffusion.generate` writes files.

        Examples:
            >>> model = load_model("ixi-2mm")
            >>> coarse = model.sample(seed=7, age=70, levels=1)  # the first level only: fast and blurred
            >>> coarse.shape, coarse.spacing, coarse.metadata["seed"]
            ((80, 104, 88), (2.0, 2.0, 2.0), 7)
            >>> len(model.sample(2, levels=1))
            2

        Args:
            num: Number of brains, returned as a list; None generates one and returns it alone.
            seed: Seed of the first brain; sample i has `seed + i`, and is the same brain for any number of samples.
            trajectory: Return the denoising trajectory instead: one channel per step, the brain last; with several
                contrasts, all steps of the first one come first.
            asked: Conditions by the name of their field (see `conditions`), such as `age=70`; and any other field of
                `GenerateRequest`: `guidance`, `steps`, `levels`, `batch_size`, `device`, ...

        Returns:
            Intensities in [0, 1] with background 0, of shape (channels, x, y, z), one channel per contrast; `metadata`
            has all settings, as the sidecar of a file.

        Raises:
            BrainDiffusionError: the model does not have such a condition, or not such a value.
        """
        options = {name: asked.pop(name) for name in list(asked) if name in GenerateRequest.model_fields}
        condition: dict[str, Value] = {**options.pop("condition", {}), **asked}
        packaged = {one.path: one.name for one in list_models()}  # a name makes it again on another machine, too
        with PrivateFolder() as folder:
            request = ask(
                GenerateRequest,
                model=packaged.get(self.path, str(self.path)),
                num_samples=1 if num is None else num,
                seed=seed,
                condition=condition,
                trajectory=trajectory,
                **options,
            )
            run = perform_request(request, root=Path(folder))
            kind = "trajectory" if trajectory else "volume"
            paths = [Path(e.path) for e in run.events() if isinstance(e, ArtifactWritten) and e.kind == kind]
            by_sample: dict[int, list[Volume]] = {}
            for volume in map(with_sidecar, paths):  # each contrast has a file of its own
                by_sample.setdefault(volume.metadata["sample"], []).append(volume)
        made = [joined(volumes) for volumes in by_sample.values()]
        return made[0] if num is None else made


def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> Model:
    """Load a model that generates brains.

    Examples:
        >>> load_model("ixi-2mm").name
        'ixi-2mm'

    Args:
        name_or_path: Name of a packaged model or of a training run; or path of a model folder, a checkpoint or a run.

    Raises:
        BrainDiffusionError: there is no such model.
    """
    folder = find_model(name_or_path)
    return Model(folder, read_card(folder))

"""A model in Python, and the brains that it makes in memory."""

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

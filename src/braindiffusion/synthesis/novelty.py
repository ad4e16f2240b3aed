"""How new synthetic brains are: their distances to the training brains and to people that the model never saw.

Two comparisons. Low-pass voxels, mirror images included (`cohort.nearest`), find copies: a brain that is nearer to a
training brain than half of the smallest distance between two people is one. The embedding of the segmentation model,
by the cosine of the angle between two brains, is a similarity that ignores position and texture, as in DeepSSIM, whose
embedding is trained for that; ours is not, so it is reported and decides nothing.
"""

import hashlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braindiffusion.cohort.nearest import Neighbours, low_pass, neighbours, neighbours_of_people, rows_of_person, views
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.groups import RealGroup, choose_real_groups, read_group
from braindiffusion.evaluation.measure import VOXELS
from braindiffusion.evaluation.metrics.memorization import SUSPICIOUS
from braindiffusion.evaluation.sources import Brain
from braindiffusion.runs import Event
from braindiffusion.segmentation import SegmentationModel
from braindiffusion.volume import load_volume

EMBEDDING = "embedding"
REFERENCE = "novelty_reference_sha256"
"""Field of a sidecar: of the real brains that the distances under `novelty` are to."""
STREAM = 15485


@dataclass(frozen=True)
class Reference:
    """The real brains that synthetic ones are compared with.

    Attributes:
        training: those that the model learnt from.
        held_out: those that it never saw.
        embed: returns the embedding of a brain, (F,); None where embeddings are not compared.
        knows_split: whether the model's card tells which are which.
        seed: of the draws.
    """

    training: RealGroup
    held_out: RealGroup
    embed: Callable[[Brain], NDArray[np.float32]] | None
    knows_split: bool
    seed: int = 0

    @cached_property
    def people(self) -> dict[str, list[Neighbours]]:
        """The real brains nearest to each held-out person, for each comparison."""
        people = self.held_out.people
        found = {VOXELS: neighbours_of_people(self.training.vectors, self.held_out.vectors, people, views)}
        if self.embed is not None:
            found[EMBEDDING] = neighbours_of_people(*self._directions, people, np.atleast_2d)
        return found

    @cached_property
    def sha256(self) -> str:
        """Hash of the real brains, as far as brains are compared with them."""
        groups = (self.training, self.held_out)
        arrays = [array for group in groups for array in (group.vectors, group.features)]
        total = hashlib.sha256(str([[array.shape for array in arrays], self.held_out.people]).encode())
        for array in arrays:
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def record(self, path: Path, number: int) -> dict[str, Any]:
        """Compare a synthetic brain with the real ones, and return what its sidecar says of that.

        Arguments and errors as those of `compare`.
        """
        return {"novelty": self.compare(path, number), REFERENCE: self.sha256}

    def is_of(self, sidecar: Mapping[str, Any]) -> bool:
        """Return whether the distances in a sidecar are those to these real brains."""
        return bool(sidecar.get("novelty")) and sidecar.get(REFERENCE) == self.sha256

    def threshold(self, space: str) -> float:
        """Return the distance to a training brain below which a brain counts as a copy."""
        return SUSPICIOUS * min(min(one.to_training, one.to_held_out) for one in self.people[space])

    def is_copy(self, novelty: Mapping[str, Mapping[str, float]]) -> bool:
        """Return whether a brain is a copy of a training brain, by what `compare` found."""
        return novelty[VOXELS]["to_training"] < self.threshold(VOXELS)

    def compare(self, path: Path, number: int) -> dict[str, dict[str, float]]:
        """Compare a synthetic brain with the real ones.

        Args:
            path: its volume, in the model's box.
            number: number of the subject: decides which held-out person is left out, so that all brains choose among
                equally many.

        Returns:
            For each comparison the distances `to_training` and `to_held_out`.

        Raises:
            BrainDiffusionError: the volume cannot be read.
        """
        volume = load_volume(path)
        brain = Brain(path.name, np.asarray(volume.data[0], np.float32), None, volume.spacing[0])
        chosen = int(np.random.default_rng((self.seed, number, STREAM)).integers(len(self.held_out.sources)))
        without = rows_of_person(self.held_out.people, chosen)
        vector = views(low_pass(brain.voxels, brain.spacing))
        found = {VOXELS: neighbours(vector, self.training.vectors, self.held_out.vectors, without)}
        if self.embed is not None:
            found[EMBEDDING] = neighbours(direction(self.embed(brain))[None], *self._directions, without)
        return {
            space: {"to_training": round(one.to_training, 6), "to_held_out": round(one.to_held_out, 6)}
            for space, one in found.items()
        }

    @cached_property
    def _directions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return direction(self.training.features), direction(self.held_out.features)


def direction(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features scaled to length 1: two of them are sqrt(2 - 2 cosine) apart."""
    return np.asarray(features / np.linalg.norm(features, axis=-1, keepdims=True), np.float32)


def similarity(distance: float) -> float:
    """Return the cosine of two vectors of length 1 at a distance."""
    return 1 - distance**2 / 2


def read_reference(
    path: Path, model: str, segmentation: SegmentationModel | None, seed: int
) -> Generator[Event, None, Reference]:
    """Read the real brains of a prepared cohort.

    Args:
        path: the cohort.
        model: the model, whose card tells which subjects it was trained on.
        segmentation: its embedding is compared, too, where its box is that of the cohort; None compares voxels only.
        seed: of the draws.

    Raises:
        BrainDiffusionError: it is no cohort of the model's, or too few of its brains can be read.
    """
    if path.suffix != ".zarr":
        raise BrainDiffusionError(f"{path} is no prepared cohort (.zarr): prepare the training subjects.", "reference")
    groups = choose_real_groups((path,), None, model)
    box = groups.preprocessing.shape, groups.preprocessing.spacing
    fits = segmentation is not None and box == (segmentation.net.config.shape, segmentation.net.config.spacing)
    embed = _embedding(segmentation) if segmentation is not None and fits else None
    training = yield from read_group("training", groups.training, embed)
    held_out = yield from read_group("held-out", groups.held_out, embed)
    knows = groups.card is not None and groups.card.split.train is not None
    return Reference(training, held_out, embed, knows, seed)


def neighbours_of(sidecar: Mapping[str, Any], space: str) -> Neighbours | None:
    """Return the distances in a sidecar; None where it has none of this comparison."""
    found = (sidecar.get("novelty") or {}).get(space)
    return None if not found else Neighbours(-1, float(found["to_training"]), -1, float(found["to_held_out"]))


def _embedding(segmentation: SegmentationModel) -> Callable[[Brain], NDArray[np.float32]]:
    return lambda brain: segmentation.predict(brain.voxels * 2 - 1).embedding

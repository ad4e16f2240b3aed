"""Synthetic brains with label maps as TorchIO subjects, mixed into a training set of real ones."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchio as tio
from numpy.typing import NDArray

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.export.bids import DERIVATIVE
from braindiffusion.runs.sidecar import is_generated, read_sidecar, volume_stem
from braindiffusion.volume import load_volume

T1W, DSEG = "T1w", "dseg"


class SyntheticDataset(tio.SubjectsDataset):
    """Real subjects, if any, followed by the subjects of a synthetic cohort: a TorchIO dataset.

    Files are read when a subject is asked for. Shuffling is the data loader's.

    Examples:
        >>> dataset = SyntheticDataset("cohort", real, ratio=10, transform=transform)    # doctest: +SKIP
        >>> loader = tio.SubjectsLoader(dataset, batch_size=2, shuffle=True)             # doctest: +SKIP

    Args:
        cohort: Dataset that `synthesize` wrote.
        real: Subjects of yours, with the images `image` and `labels`.
        ratio: Synthetic subjects for each real one; None takes all. Which ones are taken follows from `seed`.
        labels: Your value for each value of the synthetic region maps (see `braindiffusion.regions`); a value that is
            left out becomes 0. None keeps the 40 regions.
        transform: TorchIO transform of all subjects, real and synthetic.
        image: Name of the image in a subject.
        label: Name of the label map in a subject.
        modality: BIDS suffix of the image.
        seed: Of the choice.

    Raises:
        BrainDiffusionError: there are no synthetic brains with region maps, fewer than `ratio` asks for, or a real
            subject lacks one of the images.
    """

    def __init__(
        self,
        cohort: str | Path,
        real: Sequence[tio.Subject] = (),
        *,
        ratio: float | None = None,
        labels: Mapping[int, int] | None = None,
        transform: Callable[[tio.Subject], tio.Subject] | None = None,
        image: str = "image",
        label: str = "labels",
        modality: str = T1W,
        seed: int = 0,
    ) -> None:
        for subject in real:
            if missing := {image, label} - set(subject):
                have = ", ".join(subject)
                raise BrainDiffusionError(f"A real subject has no image '{min(missing)}': its images are {have}.")
        found = _pairs(Path(cohort).expanduser(), modality)
        if ratio is not None:
            found = _chosen(found, ratio, len(real), seed)
        read_labels = partial(_read_labels, values=None if labels is None else _table(labels))
        synthetic = [
            tio.Subject({image: tio.ScalarImage(path, reader=_read), label: tio.LabelMap(map_, reader=read_labels)})
            for path, map_ in found
        ]
        self.real_count, self.synthetic_count = len(real), len(synthetic)
        super().__init__([*real, *synthetic], transform=transform)


def _pairs(cohort: Path, modality: str) -> list[tuple[Path, Path]]:
    """Return the synthetic volumes of a dataset with their label maps, in the order of their names."""
    pairs = []
    for path in sorted(cohort.glob(f"sub-*/anat/*_{modality}.nii.gz")):
        folder = cohort / "derivatives" / DERIVATIVE / path.parent.relative_to(cohort)
        map_ = folder / f"{volume_stem(path).removesuffix(modality)}{DSEG}.nii.gz"
        if map_.is_file() and is_generated(read_sidecar(path)):
            pairs.append((path, map_))
    if not pairs:
        raise BrainDiffusionError(
            f"There are no synthetic {modality} brains with region maps in {cohort}: name a dataset of `synthesize`."
        )
    return pairs


def _chosen(pairs: list[tuple[Path, Path]], ratio: float, real: int, seed: int) -> list[tuple[Path, Path]]:
    wanted = round(ratio * real)
    if not real:
        raise BrainDiffusionError("A ratio needs real subjects: give some, or leave the ratio out.")
    if not 0 <= wanted <= len(pairs):
        raise BrainDiffusionError(
            f"{wanted} synthetic brains are asked for ({ratio:g} for each of {real} real ones), and there are "
            f"{len(pairs)}: choose a ratio up to {len(pairs) / real:g}, or synthesize more."
        )
    rows = np.random.default_rng(seed).choice(len(pairs), wanted, replace=False)
    return [pairs[row] for row in sorted(rows)]


def _table(labels: Mapping[int, int]) -> torch.Tensor:
    table = torch.zeros(256, dtype=torch.int16)
    for value, mine in labels.items():
        table[value] = mine
    return table


def _read(path: Path) -> tuple[torch.Tensor, NDArray[np.float64]]:
    volume = load_volume(path)
    return torch.from_numpy(np.asarray(volume.data, np.float32)), volume.affine


def _read_labels(path: Path, values: torch.Tensor | None) -> tuple[torch.Tensor, NDArray[np.float64]]:
    volume = load_volume(path)
    labels = torch.from_numpy(volume.data.astype(np.int16))
    return (labels if values is None else values[labels.long()]), volume.affine

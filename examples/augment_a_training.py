"""Mix synthetic brains into a training: `python examples/augment_a_training.py cohort --real images --labels labels`.

`cohort` is a dataset that `braindiffusion synthesize` wrote; the real brains are volumes and label maps of the same
names. The script shows the batches that a training would get; replace `train_step` by yours.
"""

from pathlib import Path
from typing import Annotated

import torchio as tio
import typer

import braindiffusion
from braindiffusion.regions import REGIONS

TISSUES = ("-", "csf", "grey", "white")


def real_subjects(images: Path, labels: Path) -> list[tio.Subject]:
    """Return a subject for each volume that has a label map of the same name."""
    pairs = [(path, labels / path.name) for path in sorted(images.glob("*.nii.gz")) if (labels / path.name).is_file()]
    return [tio.Subject(image=tio.ScalarImage(image), labels=tio.LabelMap(map_)) for image, map_ in pairs]


def train_step(images, labels) -> None:
    """Show a batch, where a training would take a step."""
    values = ", ".join(str(int(value)) for value in labels.unique())
    print(f"images {tuple(images.shape)}, labels {values}")


def main(
    cohort: Annotated[Path, typer.Argument(help="Dataset that `braindiffusion synthesize` wrote.")],
    real: Annotated[Path | None, typer.Option(help="Folder of real volumes.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of their tissue maps: 1 CSF, 2 grey, 3 white.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Synthetic brains for each real one; by default all.")] = None,
    batch_size: Annotated[int, typer.Option(help="Brains of a batch.")] = 2,
) -> None:
    """Go through the real and the synthetic brains once."""
    subjects = real_subjects(real, labels) if real is not None and labels is not None else []
    dataset = braindiffusion.SyntheticDataset(
        cohort,
        subjects,
        ratio=ratio,
        labels={region.index: TISSUES.index(region.tissue) for region in REGIONS},  # 40 regions become 3 tissues
        transform=tio.Compose([tio.RandomFlip(axes="LR"), tio.RandomNoise(std=0.02), tio.RandomBiasField()]),
    )
    print(f"{dataset.real_count} real and {dataset.synthetic_count} synthetic brains")
    for batch in tio.SubjectsLoader(dataset, batch_size=batch_size, shuffle=True):
        train_step(batch["image"][tio.DATA], batch["labels"][tio.DATA])


if __name__ == "__main__":
    typer.run(main)

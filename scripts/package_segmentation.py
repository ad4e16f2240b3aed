"""Package a trained segmentation model: half-precision weights and a full card.

    python scripts/package_segmentation.py build/segmentation/best --out PRETRAINED/ixi-2mm-regions

With --heads, the training cohort, embedding and age are fitted first: for a training that was stopped.
"""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from braindiffusion.cohort.store import Cohort
from braindiffusion.jobs.train_segmentation import fit
from braindiffusion.segmentation import SegmentationModel, load_segmentation_model, save_segmentation_model
from braindiffusion.segmentation.examples import Examples

CARD = {
    "summary": "brain mask, 40 regions, embedding and age of any T1w volume, at 2 mm",
    "description": "Segments T1w volumes, whole heads or stripped brains: brain mask, 40 regions, an embedding and an "
    "estimate of the age. Trained on healthy adults of one scanner (IXI, Hammersmith, 3 T). For research on methods; "
    "not for diagnosis.",
    "data": "117 subjects of the IXI dataset (brain-development.org), Hammersmith site, 3 T, at 2 mm; 30 held out",
    "labels": "DLMUSE, grouped by the table in braindiffusion.regions",
    "data_licence": "CC BY-SA 3.0, credit: IXI dataset, brain-development.org",
    "weights_licence": "CC BY-SA 3.0, as the data",
    "intended_use": "evaluation of generated brains, preparing cohorts without label maps; never clinical decisions",
}


def main(
    trained: Annotated[Path, typer.Argument(help="Folder of a model, or its training run.")],
    out: Annotated[Path, typer.Option(help="Folder for the packaged model.")],
    heads: Annotated[Path | None, typer.Option(help="Fit embedding and age to this cohort first.")] = None,
    measured: Annotated[Path | None, typer.Option(help="JSON output of benchmarks/measure_segmentation.py.")] = None,
    note: Annotated[str, typer.Option(help="Training history for the card.")] = "make train-models",
    missed: Annotated[str, typer.Option(help="Missed targets for the card.")] = "",
) -> None:
    """Write model.json and model.safetensors."""
    model = load_segmentation_model(trained)
    card = {**model.card, **CARD, "name": out.name, "training": note}
    card["start_from"] = card.get("start_from") and Path(card["start_from"]).name  # without the folder of this machine
    card["parameters"] = sum(p.numel() for p in model.net.parameters())
    if measured is not None:
        card["held_out"] = json.loads(measured.read_text(encoding="utf-8"))
        card["held_out_command"] = "python benchmarks/measure_segmentation.py heads.zarr --scans DATA"
    if missed:
        card["missed"] = missed
    model = SegmentationModel(model.net, model.calibration, card)
    if heads is not None:
        cohort, box = Cohort.open(heads), model.net.config.shape
        row = {subject.id: i for i, subject in enumerate(cohort.subjects)}
        examples = Examples(cohort, [row[name] for name in card["split"]["train"]], box, box, 0)
        for event in fit(model, examples, out):
            typer.echo(event.model_dump_json(exclude={"time"}), err=True)
        model = load_segmentation_model(out)
    save_segmentation_model(model, out, dtype=torch.float16)
    typer.echo(f"{out}: {(out / 'model.safetensors').stat().st_size / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    typer.run(main)

"""Package a trained model: half-precision weights, a full card, region maps if it has them, one brain as an example.

    python scripts/package_model.py checkpoints/best --out src/braindiffusion/models/pretrained/ixi-2mm

The card keeps steps, validation losses and the split of the training. With --run, it also gets the loss curves of that
training, after those of the packaged model that it was initialized from.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer

from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.models.cascade import load_model, save_model
from braindiffusion.models.cascade.config import CascadeConfig
from braindiffusion.models.cascade.files import read_configuration
from braindiffusion.models.registry import ANATOMY, NORMATIVE, find_model, read_card
from braindiffusion.runs import Failed, GenerateRequest, Metric, Run, TrainRequest

LIMIT_MB = 60
COMMON = {
    "weights_licence": "CC BY-SA 3.0, as the data",
    "intended_use": "method development, teaching, augmentation studies; never clinical decisions",
}
CARDS = {
    "ixi-2mm": {
        "summary": "skull-stripped T1w brains at 2 mm of two scanners, by age, sex, site and regions",
        "description": "Skull-stripped T1-weighted brains at 2 mm (80 x 104 x 88), with or without a given age, sex, "
        "region volumes or region map, with the contrast of one of two scanners: that of IXI at Hammersmith Hospital "
        "(site HH, 3 T, the default) or that of ds002748. Trained on healthy adults (IXI) and on adults most of whom "
        "have a mild depression (ds002748). For research on methods; not for diagnosis.",
        "data": "118 subjects of the IXI dataset (brain-development.org), Hammersmith site, 3 T, and 40 of OpenNeuro "
        "ds002748, at 2 mm; 29 of IXI held out",
        "data_licence": "CC BY-SA 3.0, credit: IXI dataset, brain-development.org; ds002748: CC0",
        "guidance": {"scale": 1.5, "fields": ["regions"]},
        "fast": {"model": "ixi-2mm-fast"},
        "generated_anatomy": {"model": "ixi-2mm-anatomy", "first_level": 2},
    },
    "ixi-2mm-fast": {
        "summary": "ixi-2mm in twelve sampling steps, by distillation",
        "description": "The brains of ixi-2mm in twelve sampling steps without guidance, where ixi-2mm takes 46 guided "
        "ones. Distilled from it. For research on methods; not for diagnosis.",
        "data": "24 brains that ixi-2mm generated",
    },
    "ixi-2mm-anatomy": {
        "summary": "region maps of brains at 2 mm, for the generated anatomy of ixi-2mm",
        "description": "Maps of 40 regions at 2 mm (80 x 104 x 88), encoded in eight channels, with or without a "
        "given age, sex or region volumes. Trained on the maps of healthy adults of one site (IXI, Hammersmith). For "
        "research on methods; not for diagnosis.",
        "data": "DLMUSE label maps of 117 subjects of the IXI dataset (brain-development.org), Hammersmith site, at "
        "2 mm; 30 held out",
        "data_licence": "CC BY-SA 3.0, credit: IXI dataset, brain-development.org; label maps: see LICENSE.md",
    },
    "brain-1mm": {
        "summary": "skull-stripped T1w brains at 1 mm: those of ixi-2mm with one finer level",
        "description": "Skull-stripped T1-weighted brains at 1 mm (160 x 208 x 176): the brain that ixi-2mm generates "
        "for the same seed and conditions, with one level of detail between 2 and 1 mm. Anatomy, age, sex, site and "
        "regions come from ixi-2mm, the finest texture from the scanner of ds002748 for every site. For research on "
        "methods; not for diagnosis.",
        "data": "the finest level: 32 subjects of OpenNeuro ds002748 at 1 mm, 8 held out (from this level; ixi-2mm was "
        "trained on them); all others: ixi-2mm",
        "data_licence": "CC0 (ds002748) and CC BY-SA 3.0 (IXI dataset, brain-development.org)",
        "coarser_model": "ixi-2mm",
        "guidance": {"scale": 1.5, "fields": ["regions"], "levels": 4},
        "fast": {"model": "brain-1mm-fast"},
    },
    "brain-1mm-fast": {
        "summary": "brain-1mm in fewer sampling steps: on ixi-2mm-fast",
        "description": "The finest level of brain-1mm, with fewer sampling steps, on the brains of ixi-2mm-fast. For "
        "research on methods; not for diagnosis.",
        "data": "as brain-1mm and ixi-2mm-fast",
        "data_licence": "CC0 (ds002748) and CC BY-SA 3.0 (IXI dataset, brain-development.org)",
        "coarser_model": "ixi-2mm-fast",
        "guidance": {},
    },
}
SAMPLING: dict[str, list[dict[str, float]]] = {
    "ixi-2mm": [
        {"steps": 20}, *({"steps": steps, "temperature": 0.85} for steps in (10, 10)),
        {"steps": 6, "temperature": 0.85, "refinement": 0.35}
    ],
    "ixi-2mm-anatomy": [{}, {}, {"temperature": 0.85}, {"steps": 4, "temperature": 0.6}],
    "brain-1mm": [{}, {}, {}, {}, {"refinement": 1.0}],
    "brain-1mm-fast": [{}, {}, {}, {}, {"steps": 4, "refinement": 1.0}],
}  # fmt: skip
"""Sampling of each level, where it differs from that of the preset: so the power spectrum is that of people within
1 dB, and brains follow their region map best."""
DEFAULTS = {"site": "HH"}
"""Condition that a packaged model takes where none is asked for: most of its brains, and all of its maps, are of it."""
COLUMNS = ["step", "training loss since the last line", "validation loss"]


def history(run: Run, curves: dict[str, list[list[float]]]) -> dict[str, list[list[float]]]:
    """Return the loss curves of each level, a row of `COLUMNS` for each validation, after those there were before."""
    request = run.request
    if not isinstance(request, TrainRequest):
        raise BrainDiffusionError(f"{run.path} is no training run: choose one of `braindiffusion runs`.")
    start = {} if request.start_from is None else read_card(find_model(request.start_from)).to_json()
    curves = {**start.get("history", {}), **curves}
    before = {f"level {i}": steps for i, steps in enumerate(start.get("steps", []))}
    losses: dict[str, list[float]] = {}
    for event in run.events():
        if not isinstance(event, Metric):
            continue
        if "loss" in event.values:
            losses.setdefault(event.stage, []).append(event.values["loss"])
        if "validation_loss" in event.values and (since := losses.pop(event.stage, [])):
            row = [round(sum(since) / len(since), 4), round(event.values["validation_loss"], 4)]
            curves[event.stage] = [*curves.get(event.stage, []), [before.get(event.stage, 0) + event.step, *row]]
    return curves


def with_defaults(config: CascadeConfig) -> CascadeConfig:
    """Return a configuration whose conditions have the `DEFAULTS`, where it has such conditions."""
    fields = [
        field.model_copy(update={"default": DEFAULTS[field.name]}) if field.name in DEFAULTS else field
        for field in config.condition.fields
    ]
    return config.model_copy(update={"condition": ConditionSchema(fields=tuple(fields))})


def main(
    trained: Annotated[Path, typer.Argument(help="A checkpoint, or a training run.")],
    out: Annotated[Path, typer.Option(help="Folder for the packaged model.")],
    seed: Annotated[int, typer.Option(help="Seed of the example.")] = 0,
    note: Annotated[str, typer.Option(help="Training history for the card.")] = "make train-models",
    missed: Annotated[str, typer.Option(help="Missed targets for the card.")] = "",
    run: Annotated[list[Path] | None, typer.Option(help="Training run whose loss curves go into the card.")] = None,
) -> None:
    """Write model.json and model.safetensors; of a distilled model, the example of its teacher, too."""
    if out.name not in CARDS:
        raise typer.BadParameter(f"the folder is named as the model: {' or '.join(CARDS)}")
    cascade, before = load_model(trained)
    card = before.to_json()
    card.pop("fast", None)  # of the model that it was made of
    curves: dict[str, list[list[float]]] = {}
    for path in run or ():  # several runs that each trained other levels
        curves = history(Run(path), curves)
        card |= {"history": curves, "history_columns": COLUMNS}
    card |= {**COMMON, **CARDS[out.name], "name": out.name, "training": note}
    if missed:
        card["missed"] = missed
    for name in ("preset", "start_from"):  # names without the folder of this machine
        card[name] = card.get(name) and Path(card[name]).name
    card["validation_loss"] = [loss if loss is None else round(loss, 4) for loss in card["validation_loss"]]
    card["parameters"] = [sum(p.numel() for p in level.parameters()) for level in cascade.levels]
    if "coarser_model" in card:  # as it is now: sampling settings may have changed since the training
        coarser = read_configuration(find_model(card["coarser_model"])).levels
        cascade.config = cascade.config.model_copy(update={"levels": (*coarser, cascade.config.levels[-1])})
    if out.name in SAMPLING:
        levels = zip(cascade.config.levels, SAMPLING[out.name], strict=True)
        changed = tuple(level.model_copy(update=settings) for level, settings in levels)
        cascade.config = cascade.config.model_copy(update={"levels": changed})
    cascade.config = with_defaults(cascade.config)
    save_model(cascade, out, card, dtype=torch.bfloat16)
    for name in (ANATOMY, NORMATIVE):
        if (beside := find_model(trained) / name).is_file():
            shutil.copyfile(beside, out / name)
    size = (out / "model.safetensors").stat().st_size / 1e6
    if size > LIMIT_MB:
        raise BrainDiffusionError(f"{out} has {size:.0f} MB of weights: at most {LIMIT_MB} are packaged.")
    typer.echo(f"{out}: {size:.1f} MB of weights, {sum(card['parameters']) / 1e6:.1f} M parameters")
    if before.distilled_from is not None and "coarser_model" not in card:
        write_example(find_model(before.distilled_from), seed)


def write_example(folder: Path, seed: int) -> None:
    """Write the example of a model, example.nii.gz and its sidecar: a brain with the default settings.

    These take the distilled model: hence with that one, not with its teacher.
    """
    name = read_card(folder).name
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "made"
        run = Run.create(GenerateRequest(model=str(name), seed=seed, out=made), root=Path(work))
        for event in perform(run):
            if isinstance(event, Failed):
                raise BrainDiffusionError(event.message)
        (folder / "example.nii.gz").write_bytes((made / "sample_001.nii.gz").read_bytes())
        sidecar = json.loads((made / "sample_001.json").read_text(encoding="utf-8"))
    for private in ("request", "run", "file"):  # paths of this machine
        del sidecar[private]
    sidecar["command"] = f"braindiffusion generate --model {name} --seed {seed}"
    (folder / "example.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

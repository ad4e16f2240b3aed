"""Compare settings of sampling: guidance, sampler, steps. Each generates the same seeds and is measured beside people.

    python benchmarks/sweep_sampling.py settings.json --cohort ixi.zarr --out sweep --num-samples 20

`settings.json` has fields of `GenerateRequest` by name of a setting:

    {"default": {}, "guided": {"guidance": 2, "guidance_fields": ["regions"]}, "30 steps": {"steps": [30, 20, 15, 10]}}

Brains and measures stay in the output folder. What is there already is not made again: an interrupted sweep continues,
and a new setting costs only its own brains. The temperature of a level belongs to the model: compare two folders of
models by `"model"`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.compare import ALL_REGIONS, BELOW_HALF, BELOW_NYQUIST, CONTRAST, Comparison
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer
from braindiffusion.evaluation.groups import Groups, choose_real_groups
from braindiffusion.evaluation.measure_cache import CachedMeasurer
from braindiffusion.evaluation.metrics.diversity import draw_pairs
from braindiffusion.evaluation.metrics.similarity import ms_ssim
from braindiffusion.evaluation.sources import Source, find_brains
from braindiffusion.files import file_sha256
from braindiffusion.jobs import perform
from braindiffusion.models.registry import DEFAULT_MODEL, DEFAULT_SEGMENTATION_MODEL, find_model, model_files
from braindiffusion.runs import Failed, GenerateRequest, Run
from braindiffusion.runs.reports.evaluation import Row
from braindiffusion.segmentation import load_segmentation_model

SPREADS = (CONTRAST, "cortical thickness (mm)", "sulcal depth (mm)")


def generate(request: GenerateRequest, runs: Path) -> None:
    """Generate the brains of a setting that are not there yet."""
    for event in perform(Run.create(request, root=runs)):
        if isinstance(event, Failed):
            raise BrainDiffusionError(event.message)


def similarity(sources: Sequence[Source], pairs: int, cache: Path) -> float:
    """Return the mean MS-SSIM of random pairs of brains, from the cache where it is there for as many brains."""
    key = f"{len(sources)} brains, {pairs} pairs"
    known: dict[str, float] = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    if key not in known:
        voxels = [source.read().voxels for source in sources]
        drawn = draw_pairs(len(sources), pairs, np.random.default_rng(0))
        known[key] = float(np.mean([ms_ssim(voxels[i], voxels[j]) for i, j in drawn]))
        cache.write_text(json.dumps(known), encoding="utf-8")
    return known[key]


def line(name: str, comparison: Comparison, alike: float) -> list[str]:
    """Return the figures of a setting: those of `TITLES`."""
    rows: list[Row] = [*comparison.fidelity(), *comparison.power()[0], *comparison.measures()]
    by_name = {row.name: row for row in rows if row.name != "KID"}
    kids = [f"{row.group} {_with_baseline(row)}" for row in rows if row.name == "KID"]
    power = [f"{by_name[each].generated.value:.2f}" for each in (BELOW_HALF, BELOW_NYQUIST)]
    spreads = [_beside_people(by_name[each]) for each in SPREADS]
    return [name, *power, f"{alike:+.3f}", _with_baseline(by_name[ALL_REGIONS]), "; ".join(kids), *spreads]


TITLES = (
    *("setting", "dB below Nyquist/2", "dB below Nyquist", "MS-SSIM less people's", "volumes (SD; real baseline)"),
    *("KID (real baseline's upper bound)", *(f"{name}; people" for name in SPREADS)),
)


def _with_baseline(row: Row) -> str:
    one, baseline = row.generated, row.real_baseline
    bound = f"; {baseline.high if row.name == 'KID' else baseline.value:.3g}" if baseline else ""
    return f"{one.value:.3g} [{one.low:.3g}, {one.high:.3g}]{bound}"


def _beside_people(row: Row) -> str:
    spread = row.spread
    assert spread is not None  # noqa: S101 every measure has one
    return f"{spread.generated_mean:.3g}; {spread.real_mean:.3g} ± {1.96 * spread.real_sd:.2g}"


def real_brains(groups: Groups, training: int) -> tuple[list[Source], list[Source]]:
    """Return all held-out brains, and some training brains for the real baseline."""
    drawn = np.random.default_rng(0).permutation(len(groups.training))[:training]
    return groups.held_out, [groups.training[i] for i in sorted(drawn)]


def main(
    settings: Annotated[Path, typer.Argument(help="JSON file of the settings.")],
    cohort: Annotated[Path, typer.Option(help="Cohort that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of brains and measures.")] = Path("sweep"),
    model: Annotated[str, typer.Option(help="Model, where a setting names none.")] = DEFAULT_MODEL,
    num_samples: Annotated[int, typer.Option(help="Brains of each setting.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the first brain of each setting.")] = 0,
    training: Annotated[int, typer.Option(help="Training brains of the real baseline.")] = 40,
    pairs: Annotated[int, typer.Option(help="Pairs of brains whose similarity is measured.")] = 60,
    uncnn: Annotated[bool, typer.Option(help="Also measure KID on the untrained encoder.")] = False,
) -> None:
    """Print a line for each setting, as it is measured."""
    asked = json.loads(settings.read_text(encoding="utf-8"))
    encoders: dict[str, Callable] = {}
    if uncnn:
        from braindiffusion.evaluation.encoders import uncnn as untrained

        encoders[untrained.NAME] = untrained.load_uncnn()
    weights = [file_sha256(file) for file in model_files(find_model(DEFAULT_SEGMENTATION_MODEL))]
    measurer = CachedMeasurer(BrainMeasurer(load_segmentation_model(), encoders), out / "measures", weights)
    groups = choose_real_groups((cohort,), None, model)
    held_out, others = real_brains(groups, training)
    people = [[measurer.measure(one.read()) for one in some] for some in (held_out, others)]
    between_people = similarity(held_out, pairs, out / "similarity.json")
    print(" | ".join(TITLES))
    for name, fields in asked.items():
        folder = out / name.replace(" ", "-")
        wanted = {"model": model, "anatomy": "sampled", **fields}
        generate(GenerateRequest(**wanted, num_samples=num_samples, seed=seed, out=folder), out / "runs")
        brains = find_brains((folder,), groups.preprocessing)[:num_samples]
        made = [measurer.measure(one.read()) for one in brains]
        alike = similarity(brains, pairs, folder / "similarity.json") - between_people
        rng = np.random.default_rng(0)
        comparison = Comparison(made, people[0], people[1], groups.preprocessing.spacing, repeats=200, rng=rng)
        print(" | ".join(line(name, comparison, alike)), flush=True)


if __name__ == "__main__":
    typer.run(main)

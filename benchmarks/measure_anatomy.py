"""How new and how whole drawn region maps are, and whether requested volumes are reached.

python benchmarks/measure_anatomy.py --draws 20 --anatomy generated --cohort ixi.zarr
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance

from braindiffusion.cohort.store import Cohort
from braindiffusion.evaluation.brain_measures import asymmetries
from braindiffusion.evaluation.metrics.cortex import cortex_measures
from braindiffusion.generation.anatomy import Anatomy, AnatomyLibrary, load_anatomy
from braindiffusion.generation.generated_anatomy import RegionMapModel
from braindiffusion.models.registry import find_model, generated_anatomy, read_card
from braindiffusion.regions import REGIONS, mirror, region_index, regions_of, volumes_ml
from braindiffusion.regions.overlap import region_dice

REQUESTED = ("third ventricle", "left lateral ventricle", "right lateral ventricle", "left hippocampus")

MIDLINE_GAP = 5
"""Voxels between the hemispheres, or that they overlap, where the surface between them is still measured."""


def main(
    model: Annotated[str, typer.Option(help="Name or path of a model.")] = "ixi-2mm",
    draws: Annotated[int, typer.Option(help="Maps to draw.")] = 40,
    anatomy: Annotated[str, typer.Option(help="`sampled` or `generated`.")] = "sampled",
    cohort: Annotated[Path | None, typer.Option(help="Cohort of the model: compares with its held-out people.")] = None,
) -> None:
    """Print the overlap of drawn maps with those of training subjects, their volumes and their cortex."""
    library = load_anatomy(find_model(model))
    if library is None:
        raise typer.BadParameter(f"{model} has no region maps")
    settings = generated_anatomy(find_model(model))
    if anatomy == "generated" and settings is None:
        raise typer.BadParameter(f"{model} has no model of region maps")
    maps = RegionMapModel(settings, library, torch.device("cpu")) if settings and anatomy == "generated" else None

    def draw(seed: int, condition: dict[str, Any]) -> Anatomy:
        sampled = library.sample(seed, condition)
        return sampled if maps is None else maps.generate(sampled, seed, condition)

    rng = np.random.default_rng(0)
    own, nearest, people, errors, drawn_maps = [], [], [], [], []
    for seed in range(draws):
        drawn = draw(seed, {})
        drawn_maps.append(drawn.regions)
        mirrored = mirror(drawn.regions)
        dice = [max(overlap(drawn.regions, one), overlap(mirrored, one)) for one in library.maps]
        own.append(dice[library.subjects.index(drawn.subject)])
        nearest.append(max(dice))
        first, second = rng.choice(len(library.subjects), 2, replace=False)
        people.append(overlap(library.maps[first], library.maps[second]))
        wanted: dict[str, float | str] = {
            name: float(np.quantile(library.volumes[:, region_index(name)], rng.uniform(0.05, 0.95)))
            for name in REQUESTED
        }
        reached = volumes_ml(draw(seed, {"volumes": wanted}).regions, library.spacing)
        errors += [abs(reached[region_index(name)] / float(value) - 1) for name, value in wanted.items()]
    print(f"{draws} {anatomy} maps of {model}, mean Dice of 40 regions, 5 % to 95 %:")
    print(f"  with the map of the subject drawn: {spread(own)}; with the nearest training map: {spread(nearest)}")
    print(f"  between two subjects: {spread(people)}")
    print(
        f"requested volumes, relative error: median {np.median(errors):.3f}, 95 % below {np.quantile(errors, 0.95):.3f}"
    )
    if cohort is not None:
        compare(drawn_maps, library, held_out_maps(Cohort.open(cohort), read_card(find_model(model)).split.validation))


def compare(drawn: list[NDArray[np.uint8]], library: AnatomyLibrary, held_out: list[NDArray[np.uint8]]) -> None:
    """Print how drawn maps differ from those of held-out people, beside as many training subjects."""
    chosen = np.random.default_rng(1).choice(len(library.maps), min(len(drawn), len(library.maps)), replace=False)
    groups = {"drawn": drawn, "training subjects": list(library.maps[chosen]), "held-out people": held_out}
    whole = {name: np.stack([volumes_ml(one, library.spacing) for one in maps]) for name, maps in groups.items()}
    volumes = {name: maps[:, 1:] for name, maps in whole.items()}
    people = volumes["held-out people"]
    uneven = {name: np.std([[*asymmetries(one).values()] for one in maps], axis=0) for name, maps in whole.items()}
    print(f"against {len(held_out)} held-out people:")
    for name, maps in groups.items():
        distances = [
            wasserstein_distance(a, b) / b.std() for a, b in zip(volumes[name].T, people.T, strict=True) if b.std()
        ]
        # A training subject's own map is no other map.
        dice = [[overlap(one, other) for other in library.maps] for one in maps[:20]]
        nearest = [max(value for value in values if value < 1) for values in dice]
        cortex = [cortex_measures(one, library.spacing).values() for one in maps]
        thickness, depth = np.mean([list(one) for one in cortex], axis=0)
        bent = np.mean([midplane_bend(one, library.spacing) for one in maps])
        white, grey = np.mean([pieces_of(one) for one in maps], axis=0)
        print(
            f"  {name}: volumes {np.median(distances):.2f} SD away (median of the regions), cortex {thickness:.2f} mm "
            f"thick and {depth:.2f} mm deep, white matter in {white:.0f} pieces, cortex in {grey:.0f}, the surface "
            f"between the hemispheres {bent:.2f} mm from a plane, "
            f"Dice with the nearest training map {spread(nearest)}, asymmetry of pairs of regions "
            f"{np.median(uneven[name] / uneven['held-out people']):.2f} times as varied as in held-out people (median)"
        )


def held_out_maps(cohort: Cohort, names: list[str]) -> list[NDArray[np.uint8]]:
    """Return the region maps of some subjects of a cohort."""
    if cohort.labels is None:
        raise typer.BadParameter(f"{cohort.path} has no label maps")
    rows = [row for row, subject in enumerate(cohort.subjects) if subject.id in names]
    return [regions_of(np.asarray(cohort.labels[row])) for row in rows]


def overlap(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the mean Dice of the regions of two maps."""
    return float(np.nanmean(region_dice(first, second)[1:]))


def spread(values: list[float]) -> str:
    """Return mean and 5 % to 95 % of some values."""
    return f"{np.mean(values):.2f} [{np.quantile(values, 0.05):.2f}, {np.quantile(values, 0.95):.2f}]"


def pieces_of(labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return into how many pieces white matter and cortex of the cerebrum fall, by the six neighbours of a voxel."""
    white, cortex = (
        ndimage.label(np.isin(labels, [i for i, one in enumerate(REGIONS) if kind in one.name]))[1]
        for kind in ("cerebral white matter", "cortex")
    )
    return white, cortex


def midplane_bend(labels: NDArray[np.uint8], spacing: float) -> float:
    """Return how far the surface halfway between the hemispheres is from a plane: root mean square, in mm.

    Args:
        labels: (x, y, z) region map, x from side to side.
        spacing: mm.
    """
    sides = [
        np.isin(labels, [i for i, one in enumerate(REGIONS) if one.name.startswith(side)]) for side in ("left", "right")
    ]
    places = np.arange(len(labels))[:, None, None]
    low, high = sorted(sides, key=lambda side: (side * places).sum() / side.sum())
    inner = np.where(low, places, -1).max(0), np.where(high, places, len(labels)).min(0)
    both = low.any(0) & high.any(0) & (np.abs(inner[1] - inner[0]) <= MIDLINE_GAP)
    across = (inner[0] + inner[1])[both] * spacing / 2
    design = np.column_stack([*np.nonzero(both), np.ones(both.sum())])
    return float((across - design @ np.linalg.lstsq(design, across, rcond=None)[0]).std())


if __name__ == "__main__":
    typer.run(main)

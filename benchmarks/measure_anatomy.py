"""How new sampled anatomy is, and whether requested volumes are reached: for the region maps that a model ships with.

python benchmarks/measure_anatomy.py --draws 40
"""

from typing import Annotated

import numpy as np
import typer

from braindiffusion.generation.anatomy import load_anatomy
from braindiffusion.models.registry import find_model
from braindiffusion.regions import mirror, region_index, volumes_ml
from braindiffusion.regions.overlap import region_dice

REQUESTED = ("third ventricle", "left lateral ventricle", "right lateral ventricle", "left hippocampus")


def main(
    model: Annotated[str, typer.Option(help="Name or path of a model.")] = "ixi-2mm",
    draws: Annotated[int, typer.Option(help="Maps to draw.")] = 40,
) -> None:
    """Print the overlap of drawn maps with their own subject's, with other subjects', and between subjects."""
    library = load_anatomy(find_model(model))
    if library is None:
        raise typer.BadParameter(f"{model} has no region maps")
    rng = np.random.default_rng(0)
    own, nearest, people, errors = [], [], [], []
    for seed in range(draws):
        drawn = library.sample(seed, {})
        drawn_regions = mirror(drawn.regions) if drawn.mirrored else drawn.regions
        index = library.subjects.index(drawn.subject)
        others = [np.nanmean(region_dice(drawn_regions, labels)[1:]) for labels in library.maps]
        own.append(others[index])
        nearest.append(float(np.argmax(others) == index))
        first, second = rng.choice(len(library.subjects), 2, replace=False)
        people.append(np.nanmean(region_dice(library.maps[first], library.maps[second])[1:]))
        wanted: dict[str, float | str] = {
            name: float(np.quantile(library.volumes[:, region_index(name)], rng.uniform(0.05, 0.95)))
            for name in REQUESTED
        }
        reached = volumes_ml(library.sample(seed, {"volumes": wanted}).regions, library.spacing)
        errors += [abs(reached[region_index(name)] / float(value) - 1) for name, value in wanted.items()]
    print(f"{draws} maps of {model}, mean Dice of 40 regions, 5 % to 95 %:")
    for name, values in (("with the subject's own map", own), ("between two subjects", people)):
        print(f"  {name}: {np.mean(values):.2f} [{np.quantile(values, 0.05):.2f}, {np.quantile(values, 0.95):.2f}]")
    print(f"  the own map is the nearest of {len(library.subjects)}: {100 * np.mean(nearest):.0f} %")
    print(
        f"requested volumes, relative error: median {np.median(errors):.3f}, 95 % below {np.quantile(errors, 0.95):.3f}"
    )


if __name__ == "__main__":
    typer.run(main)

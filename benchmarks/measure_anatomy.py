"""How new and how whole sampled anatomy is, and whether requested volumes are reached, for a model's region maps.

python benchmarks/measure_anatomy.py --draws 40
"""

from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import ndimage

from braindiffusion.generation.anatomy import load_anatomy
from braindiffusion.models.registry import find_model
from braindiffusion.regions import REGIONS, mirror, region_index, volumes_ml
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
    own, nearest, people, errors, pieces = [], [], [], [], []
    for seed in range(draws):
        drawn = library.sample(seed, {})
        drawn_regions = mirror(drawn.regions) if drawn.mirrored else drawn.regions
        index = library.subjects.index(drawn.subject)
        others = [np.nanmean(region_dice(drawn_regions, labels)[1:]) for labels in library.maps]
        own.append(others[index])
        nearest.append(float(np.argmax(others) == index))
        first, second = rng.choice(len(library.subjects), 2, replace=False)
        people.append(np.nanmean(region_dice(library.maps[first], library.maps[second])[1:]))
        pieces.append(pieces_of(drawn_regions) + pieces_of(library.maps[first]))
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
    white, cortex, white_of_people, cortex_of_people = np.mean(pieces, axis=0)
    print(f"  pieces of cerebral white matter {white:.0f} (subjects {white_of_people:.0f}), ", end="")
    print(f"of cerebral cortex {cortex:.0f} (subjects {cortex_of_people:.0f})")
    print(
        f"requested volumes, relative error: median {np.median(errors):.3f}, 95 % below {np.quantile(errors, 0.95):.3f}"
    )


def pieces_of(labels: NDArray[np.uint8]) -> tuple[int, int]:
    """Return into how many pieces white matter and cortex of the cerebrum fall, by the six neighbours of a voxel."""
    return tuple(
        ndimage.label(np.isin(labels, [i for i, one in enumerate(REGIONS) if kind in one.name]))[1]
        for kind in ("cerebral white matter", "cortex")
    )


if __name__ == "__main__":
    typer.run(main)

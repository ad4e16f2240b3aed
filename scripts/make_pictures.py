"""Draw the pictures of examples/: generated and real brains, the denoising process, regions.

    python scripts/make_pictures.py

writes `real_vs_generated.png`, `diffusion_process.png`, `denoising.gif` and `brain_regions.png`. Slices go through the
centre of the bounding box of each brain, with its own contrast limits: nothing is selected by hand.

    braindiffusion generate --num-samples 8 --seed 0 --out unchosen
    python scripts/make_pictures.py --unchosen unchosen --cohort ixi.zarr

makes `real_vs_generated.png`, the first picture of the README, of eight generated brains above eight held-out subjects:
seeds 0 to 7 without any condition, which the script checks in their sidecars, and the first eight of the model's
held-out subjects, by name.

    python scripts/make_pictures.py --generated generated --report report

also writes `worst_generated.png`: of the brains that `evaluate` compared, those least similar to any real one.

    python scripts/make_pictures.py --by-map generated --cohort ixi.zarr

also writes `conditioned_on_maps.png`: brains generated from region maps of real subjects, with map and scan.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageColor, ImageDraw

from braindiffusion.cohort.standardise import standardise_labels
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path, sample_t1_path
from braindiffusion.figures.process import recorded_steps
from braindiffusion.figures.region_overlay import region_colour
from braindiffusion.jobs import perform
from braindiffusion.models.registry import DEFAULT_MODEL, find_model, read_card
from braindiffusion.regions import REGIONS, regions_of, volumes_ml
from braindiffusion.runs import Failed, GenerateRequest, Run
from braindiffusion.runs.reports.evaluation import read_evaluation
from braindiffusion.runs.sidecar import load_sidecar
from braindiffusion.volume import Volume, load_volume

TALL = 208  # pixels, and mm, of a cell: the box that holds any adult brain is 160 x 208 x 176 mm
TITLE = 26
LINE = 15
COLUMNS = 8  # steps of the process that are shown
UNCHOSEN = 8
SETTINGS = ("anatomy", "autoguidance", "guidance", "guidance_fields", "sampler", "steps")  # left to the model
PALETTE = np.array([(0, 0, 0)] + [ImageColor.getrgb(region_colour(region.index)) for region in REGIONS[1:]])
Box = tuple[slice, slice, slice]


def generate(model: str, count: int, seed: int, folder: Path) -> list[Path]:
    """Generate brains of a model with their trajectories; return the paths."""
    out = folder / "volumes"
    request = GenerateRequest(model=model, num_samples=count, seed=seed, out=out, trajectory=True)
    for event in perform(Run.create(request, root=folder)):
        if isinstance(event, Failed):
            raise BrainDiffusionError(event.message)
    return [out / f"sample_{number:03d}.nii.gz" for number in range(1, count + 1)]


def brain_box(volume: Volume) -> Box:
    """Return the bounding box of the brain."""
    data = volume.data[0].astype(np.float32)
    background = data.min()
    brain = data > background + 0.05 * (np.percentile(data, 99.9) - background)
    bounds = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(b[0], b[-1] + 1) for b in bounds)


def in_grey(data: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return grey values of 0 to 255, with the contrast limits of a reference."""
    background = float(reference.min())
    return np.clip((data - background) / (np.percentile(reference, 99.5) - background) * 255, 0, 255).astype(np.uint8)


def planes(data: np.ndarray, spacing: tuple[float, float, float]) -> list[Image.Image]:
    """Return sagittal, coronal and axial slices through the centre, one pixel per mm, upright.

    Args:
        data: (x, y, z), or (x, y, z, 3) in colour; uint8.
        spacing: millimetres.
    """
    cuts = []
    for axis in range(3):
        cut = data.take(data.shape[axis] // 2, axis=axis)
        right, up = (spacing[other] for other in range(3) if other != axis)
        size = round(cut.shape[0] * right), round(cut.shape[1] * up)
        upright = np.ascontiguousarray(cut.swapaxes(0, 1)[::-1])
        cuts.append(Image.fromarray(upright).resize(size, Image.Resampling.BICUBIC))
    return cuts


def grey_planes(volume: Volume) -> list[Image.Image]:
    """Return the three central slices of a brain."""
    cut = volume.data[0][brain_box(volume)].astype(np.float32)
    return planes(in_grey(cut, cut), volume.spacing)


def sheet(title: str, columns: list[list[Image.Image]], names: list[str] | None = None) -> Image.Image:
    """Return a table of pictures: a column for each brain, a row for each plane."""
    top = TITLE + (LINE + 4 if names else 0)
    picture = Image.new(columns[0][0].mode, (TALL * len(columns), top + 3 * TALL))
    pen = ImageDraw.Draw(picture)
    white = 255 if picture.mode == "L" else (255,) * 3
    pen.text((8, 4), title, fill=white, font_size=16)
    for column, cuts in enumerate(columns):
        if names:
            pen.text((column * TALL + 8, TITLE), names[column], fill=white, font_size=12)
        for row, cut in enumerate(cuts):
            corner = column * TALL + (TALL - cut.width) // 2, top + row * TALL + (TALL - cut.height) // 2
            picture.paste(cut, corner)
    return picture


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return two pictures side by side with a grey line between them."""
    both = Image.new("L", (left.width + 12 + right.width, left.height), 96)
    both.paste(left, (0, 0))
    both.paste(right, (left.width + 12, 0))
    return both


def one_above_another(top: Image.Image, bottom: Image.Image) -> Image.Image:
    """Return two pictures, one above the other with a grey line between them."""
    both = Image.new("L", (top.width, top.height + 12 + bottom.height), 96)
    both.paste(top, (0, 0))
    both.paste(bottom, (0, top.height + 12))
    return both


def unchosen(folder: Path, count: int) -> list[Volume]:
    """Return the brains of seeds 0 to `count` - 1 of a folder.

    Raises:
        BrainDiffusionError: a seed is missing, or a brain was generated with conditions or settings of its own.
    """
    sidecars = [load_sidecar(path) for path in sorted(folder.glob("sample_*.json"))]
    by_seed = {one["seed"]: one for one in sidecars}
    for seed in range(count):
        if seed not in by_seed:
            raise BrainDiffusionError(f"{folder} lacks the brain of seed {seed}: generate {count} from seed 0.")
        asked = by_seed[seed].get("request", {})
        conditions = asked.get("condition") or asked.get("conditions")
        if conditions or any(asked.get(name) is not None for name in SETTINGS):
            raise BrainDiffusionError(
                f"The brain of seed {seed} in {folder} was generated with conditions or settings."
            )
    return [load_volume(folder / by_seed[seed]["file"]) for seed in range(count)]


def held_out(cohort: Cohort, model: str, count: int) -> list[Volume]:
    """Return the first held-out subjects of a model, in the order of their names.

    Raises:
        BrainDiffusionError: the cohort has fewer.
    """
    names = sorted(read_card(find_model(model)).split.validation)
    rows = [row for row, subject in enumerate(cohort.subjects) if subject.id in names][:count]
    if len(rows) < count:
        raise BrainDiffusionError(f"{cohort.path} holds {len(rows)} held-out subjects of {model}, not {count}.")
    return [Volume(np.asarray(cohort.volumes[row], np.float32), cohort.affines[row]) for row in rows]


def process_frames(trajectory: Path) -> tuple[list[str], list[list[Image.Image]]]:
    """Return names and slices of the frames of a trajectory, with the contrast limits of the last."""
    steps = load_volume(trajectory)
    names = [str(step) for step in recorded_steps(trajectory) or range(1, steps.channels + 1)]
    box = brain_box(Volume(steps.data[-1:], steps.affine))
    last = steps.data[-1][box]
    return names, [planes(in_grey(frame[box], last), steps.spacing) for frame in steps.data]


def process_picture(names: list[str], frames: list[list[Image.Image]]) -> Image.Image:
    """Return a table of steps of the process, the last one the brain."""
    chosen = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
    title = "denoised estimate during sampling, level by level"
    return sheet(title, [frames[n] for n in chosen], [names[n] for n in chosen])


def process_animation(names: list[str], frames: list[list[Image.Image]], path: Path) -> None:
    """Write the process as an animation of three planes that pauses at the end."""
    moving = []
    for name, cuts in zip(names, frames, strict=True):
        picture = Image.new("L", (3 * TALL, TALL + LINE))
        for column, cut in enumerate(cuts):
            picture.paste(cut, (column * TALL + (TALL - cut.width) // 2, (TALL - cut.height) // 2))
        ImageDraw.Draw(picture).text((8, TALL - 4), name, fill=160, font_size=12)
        moving.append(picture)
    times = [200] * (len(moving) - 1) + [2500]
    moving[0].save(path, save_all=True, append_images=moving[1:], duration=times, loop=0, optimize=True)


def regions_picture(volume: Volume, labels: Volume) -> Image.Image:
    """Return the regions of a brain in colour on its slices, with their volumes."""
    box = brain_box(volume)
    regions = regions_of(labels.data[0])
    grey = volume.data[0][box].astype(np.float32)
    weight = 0.5 * (regions[box] > 0)[..., None]
    mixed = in_grey(grey, grey)[..., None] * (1 - weight) + PALETTE[regions[box]] * weight
    plain = np.repeat(in_grey(grey, grey)[..., None], 3, axis=-1)
    left = sheet(
        "a real brain (IXI) and its 40 regions",
        [planes(part.astype(np.uint8), volume.spacing) for part in (plain, mixed)],
    )
    legend = Image.new("RGB", (260, left.height))
    pen = ImageDraw.Draw(legend)
    sizes = volumes_ml(regions, volume.spacing[0])
    for line, region in enumerate(REGIONS[1:]):
        y = 6 + line * LINE
        pen.rectangle((10, y + 2, 20, y + 12), fill=region_colour(region.index))
        pen.text((28, y), region.name, fill=(220,) * 3, font_size=11)
        pen.text((252, y), f"{sizes[region.index]:.1f} ml", fill=(220,) * 3, font_size=11, anchor="ra")
    both = Image.new("RGB", (left.width + legend.width, left.height))
    both.paste(left, (0, 0))
    both.paste(legend, (left.width, 0))
    return both


def worst(report: Path, generated: Path, count: int) -> Image.Image:
    """Return the generated brains with the largest distance to all real ones, by the report's blurred voxels."""
    far = sorted(
        read_evaluation(report).memorization[0].neighbours, key=lambda near: -min(near.to_training, near.to_held_out)
    )
    columns = [grey_planes(load_volume(generated / f"{near.generated}.nii.gz")) for near in far[:count]]
    return sheet(f"the worst {count} of {len(far)}: least similar to any real brain", columns)


def conditioned_on_maps(generated: Path, cohort: Cohort, count: int) -> Image.Image:
    """Return region maps of real subjects, the brains generated from them, and the subjects' scans."""
    people = {subject.id: row for row, subject in enumerate(cohort.subjects)}
    columns = []
    for path in sorted(generated.glob("*.nii.gz"))[:count]:
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text(encoding="utf-8"))
        region_map = Path(sidecar["condition"]["regions"])
        made = load_volume(path)
        box = brain_box(made)
        regions = regions_of(standardise_labels(load_volume(region_map), made.spacing[0], made.shape)[0])
        person = cohort.volumes[next(row for name, row in people.items() if region_map.name.startswith(name))][0]
        columns.append(planes(PALETTE[regions[box]].astype(np.uint8), made.spacing))
        for brain in (made.data[0][box], person[box]):
            grey = in_grey(brain.astype(np.float32), brain.astype(np.float32))
            columns.append(planes(np.repeat(grey[..., None], 3, axis=-1), made.spacing))
    return sheet(
        "conditioned on the region maps of held-out subjects",
        columns,
        ["region map", "generated", "real scan"] * (len(columns) // 3),
    )


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("examples"),
    model: Annotated[str, typer.Option(help="Name of a packaged model, or a path.")] = DEFAULT_MODEL,
    count: Annotated[int, typer.Option(help="Number of brains.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the first generated brain; the next ones follow.")] = 0,
    real: Annotated[list[Path] | None, typer.Option(help="Skull-stripped scans; the packaged ones by default.")] = None,
    generated: Annotated[Path | None, typer.Option(help="Folder of evaluated brains.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of their report by `evaluate`.")] = None,
    by_map: Annotated[Path | None, typer.Option(help="Folder of brains generated from region maps.")] = None,
    cohort: Annotated[Path | None, typer.Option(help="Cohort with the subjects of these maps, or held out.")] = None,
    unchosen_brains: Annotated[
        Path | None, typer.Option("--unchosen", help="Folder of seeds 0 to 7, generated without conditions.")
    ] = None,
) -> None:
    """Draw the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    paths = real or [sample_t1_path(index) for index in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        made = generate(model, 1 if unchosen_brains else count, seed, Path(folder))
        brains = [grey_planes(load_volume(path)) for path in made]
        names, frames = process_frames(made[0].with_name("sample_001_trajectory.nii.gz"))
    if unchosen_brains is not None and cohort is not None:
        brains = [grey_planes(one) for one in unchosen(unchosen_brains, UNCHOSEN)]
        people = [grey_planes(one) for one in held_out(Cohort.open(cohort), model, UNCHOSEN)]
        top = sheet(f"generated ({model}, seeds 0 to {UNCHOSEN - 1}, no conditions)", brains)
        picture = one_above_another(top, sheet("real, held out from the training", people))
    else:
        left = sheet(f"generated ({model}, seeds {seed} to {seed + count - 1})", brains)
        right = sheet("real (IXI)", [grey_planes(load_volume(path)) for path in paths[:count]])
        picture = side_by_side(left, right)
    picture.save(out / "real_vs_generated.png", optimize=True)
    process_picture(names, frames).save(out / "diffusion_process.png", optimize=True)
    process_animation(names, frames, out / "denoising.gif")
    regions = regions_picture(load_volume(sample_t1_path()), load_volume(sample_labels_path()))
    regions.save(out / "brain_regions.png", optimize=True)
    if generated is not None and report is not None:
        worst(report, generated, count).save(out / "worst_generated.png", optimize=True)
        print(f"Written: {out / 'worst_generated.png'}")
    if by_map is not None and cohort is not None:
        conditioned_on_maps(by_map, Cohort.open(cohort), 2).save(out / "conditioned_on_maps.png", optimize=True)
        print(f"Written: {out / 'conditioned_on_maps.png'}")
    for name in ("real_vs_generated.png", "diffusion_process.png", "denoising.gif", "brain_regions.png"):
        print(f"Written: {out / name}")


if __name__ == "__main__":
    typer.run(main)

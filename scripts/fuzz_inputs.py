"""What `fuzz.py` opens: a small valid input of each family, how it is damaged, and inputs that ask for too much."""

import gzip
import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NASTY: list[Any] = [
    None, True, "", "../../../x,T2", "/etc/x", "C:\\x", "a\tb\nc", '=HYPERLINK("http://x","y")',
    "<script>alert(1)</script>", "a" * 10_000, "\0", -1, 0, 1, 1.5, 1600, 10**6, 10**30, -1e308, 1e308, float("nan"),
    float("inf"), [], [1], {}, {"a": 1},
    [[[[]]]], "NaN", "T1,T1", ".",
]  # fmt: skip


# -- originals: one small valid folder of each family ------------------------------------------------------------------


def make_originals(root: Path) -> None:
    """Write a valid input of each family: `root/FAMILY`."""
    import nibabel as nib
    import numpy as np
    import torch

    from braindiffusion.cohort.preprocessing import Preprocessing
    from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
    from braindiffusion.models.cascade import Cascade, save_model
    from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
    from braindiffusion.runs import GenerateRequest, Run
    from braindiffusion.runs.sidecar import write_sidecar

    torch.manual_seed(0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 60, 56)), indexing="ij"), axis=-1)
    head = (((grid - [24, 30, 28]) / [20, 26, 24]) ** 2).sum(-1) < 1
    voxels = np.where(head, 700 + np.random.default_rng(0).normal(0, 40, head.shape), 0).astype(np.int16)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    for family, name in (("nifti", "sub-01_T1w.nii"), ("nifti.gz", "sub-01_T1w.nii.gz"), ("mgz", "sub-01_T1w.mgz")):
        (root / family).mkdir(parents=True)
        kind: Any = nib.MGHImage if family == "mgz" else nib.Nifti1Image
        nib.save(kind(voxels, affine), root / family / name)

    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2)
    small = CascadeConfig(shape=(16, 16, 16), channels=2, depth=1, levels=(level, level))
    box = Preprocessing(shape=(16, 16, 16), modality="T1,T2")
    card = {
        "name": "small", "summary": "A small model.", "split": {"train": ["a", "b"], "validation": ["c"]},
        "preprocessing": box.model_dump(mode="json"), "preprocessing_hash": box.hash, "steps": [10, 10],
        "parameters": [1, 1], "validation_loss": [0.5, 0.25], "data": "None.", "limits": ["None."],
    }  # fmt: skip
    for family in ("card", "weights"):
        save_model(Cascade(small), root / family / "model", card)

    folder = root / "sidecar"
    folder.mkdir()
    job = Run.create(GenerateRequest(model=str(root / "card" / "model"), steps=1, out=folder), folder / "runs", "made")
    for _ in perform(job):
        pass

    one = box.model_copy(update={"modality": "T1"})
    cohort = Cohort.create(root / "store" / "small.zarr", one, labels=np.dtype(np.uint16))
    for number in range(3):
        volume = np.random.default_rng(number).uniform(-1, 1, (1, 16, 16, 16)).astype(np.float16)
        mask = np.ones((16, 16, 16), bool)
        prepared = PreparedVolume(volume, mask, mask.astype(np.uint16) * 4, np.diag([2.0, 2.0, 2.0, 1.0]))
        cohort.put(Subject(id=f"s{number}", age=30.0 + number, sex="F", input_hash=str(number)), prepared)
    cohort.finish()

    rows = [("participant_id", "age", "sex"), ("sub-01", "30", "F"), ("sub-02", "41.5", "M")]
    for family, separator in (("tsv", "\t"), ("csv", ",")):
        (root / family).mkdir()
        (root / family / f"participants.{family}").write_text("\n".join(separator.join(row) for row in rows) + "\n")
    (root / "xlsx").mkdir()
    _workbook(
        root / "xlsx" / "participants.xlsx", {(i, j): cell for i, row in enumerate(rows) for j, cell in enumerate(row)}
    )
    sheet = Path(os.environ.get("BRAINDIFFUSION_SHARED_DATA", "../shared/data")) / "ixi-2mm" / "IXI.xls"
    if sheet.is_file():
        (root / "xls").mkdir()
        shutil.copy(sheet, root / "xls" / "participants.xls")

    (root / "run").mkdir()
    shutil.copytree(folder / "runs" / "made", root / "run" / "made")
    for path in (root / "sidecar").glob("*.nii.gz"):
        write_sidecar(path, json.loads(path.with_name(path.name[:-7] + ".json").read_text()))
    make_editing_inputs(root)
    _half_a_cohort(root)
    _training_originals(root)
    _bundle(root / "bundle")


def make_editing_inputs(root: Path) -> None:
    """Write a model with region maps and a normative table, a real scan, and a mask."""
    import numpy as np
    import torch

    from braindiffusion.cohort.preprocessing import Preprocessing
    from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Numbers, ScalarField
    from braindiffusion.editing.anomaly import NOISE_LEVELS
    from braindiffusion.editing.normative import CLASSES, NormativeTable, save_normative
    from braindiffusion.example_data import sample_labels_path, sample_t1_path
    from braindiffusion.generation.anatomy import AnatomyLibrary
    from braindiffusion.models.cascade import Cascade, save_model
    from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
    from braindiffusion.regions import REGIONS, region_index

    box = Preprocessing(spacing=8.0, shape=(20, 26, 22), skull="strip")
    ages = Numbers(mean=50, std=10, quantiles=(20.0, 25.0, *[50.0] * 7, 75.0, 80.0))
    fields = (
        ScalarField(name="age", unit="years", seen=ages),
        CategoryField(name="sex", values=("F", "M")),
        MapField(name="regions", labels=len(REGIONS)),
    )
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,), map_width=4), steps=2)
    config = CascadeConfig(
        shape=box.shape, spacing=8.0, depth=1, levels=(level, level), condition=ConditionSchema(fields=fields)
    )
    cascade = Cascade(config)
    with torch.no_grad():
        cascade.level(0).mean.fill_(0.0)
    folder = root / "model" / "model"
    card = {"name": "small", "preprocessing": box.model_dump(mode="json"), "preprocessing_hash": box.hash}
    save_model(cascade, folder, {**card, "split": {"train": ["a", "b"], "validation": []}})
    maps = np.zeros((2, *box.shape), np.uint8)
    maps[:, 5:15, 6:20, 5:16] = region_index("left frontal cortex")
    maps[1, 8:12, 10:16, 8:12] = region_index("left cerebral white matter")
    AnatomyLibrary.build(maps, 8.0, ["a", "b"], [30.0, 60.0], ["F", "M"]).save(folder)
    coefficients = [(0.0, 0.01, 0.0)] * CLASSES
    table = NormativeTable(
        subjects=2, noise_levels=NOISE_LEVELS, spacing=8.0, middle_age=50, mean=coefficients, log_variance=coefficients
    )
    save_normative(table, folder)
    for family, path in (("scan", sample_t1_path()), ("mask", sample_labels_path())):
        (root / family).mkdir()
        shutil.copy(path, root / family / f"{family}.nii.gz")


def _half_a_cohort(root: Path) -> None:
    """Write a synthetic cohort to be continued."""
    from braindiffusion.runs import Run, SynthesizeRequest

    request = SynthesizeRequest(model=str(root / "model" / "model"), num=1, out=root / "dataset" / "bids")
    for _ in perform(Run.create(request, root / "runs", "synthesized")):
        pass


def _training_originals(root: Path) -> None:
    """Write a training, a preset and a table of numbers."""
    from braindiffusion.runs import Run, TrainRequest
    from braindiffusion.training.presets import preset

    small = preset("tiny")
    (root / "preset").mkdir()
    (root / "preset" / "preset.json").write_text(small.model_dump_json(indent=1))
    request = TrainRequest(
        data=root / "store" / "small.zarr", preset="tiny", levels=(0,), epochs=0.3, validation_subjects=1
    )
    for _ in perform(Run.create(request, root / "training", "trained")):
        pass
    (root / "vectors").mkdir()
    (root / "vectors" / "scores.tsv").write_text("participant_id\tfirst\tsecond\nsub-01\t0.5\t-1.25\nsub-02\tn/a\t3\n")


def _bundle(folder: Path) -> None:
    """Write a MONAI bundle; nothing where MONAI is not installed."""
    try:
        from monai.networks.nets import DiffusionModelUNet
    except ImportError:
        return
    from safetensors.torch import save_file

    network = {
        "spatial_dims": 3, "in_channels": 1, "out_channels": 1, "channels": [8, 8], "attention_levels": [False, True],
        "num_res_blocks": 1, "norm_num_groups": 4, "num_head_channels": 4, "with_conditioning": True,
        "cross_attention_dim": 2,
    }  # fmt: skip
    inference = {
        "network_def": {"_target_": "monai.networks.nets.DiffusionModelUNet", **network},
        "scheduler": {
            "_target_": "monai.networks.schedulers.DDIMScheduler", "num_train_timesteps": 6, "beta_start": 0.0015,
            "schedule": "scaled_linear_beta", "beta_end": 0.3, "clip_sample": False,
        },
        "age": 0.1, "brain_vol": 0.4, "conditioning": "$torch.tensor([[@age, @brain_vol]])",
    }  # fmt: skip
    output = {"type": "image", "spatial_shape": [8, 8, 8], "value_range": [0, 1]}
    told = {"version": "1.0.0", "task": "Brain synthesis", "network_data_format": {"outputs": {"pred": output}}}
    for name in ("configs", "models"):
        (folder / "model" / name).mkdir(parents=True)
    (folder / "model" / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "model" / "configs" / "metadata.json").write_text(json.dumps(told))
    save_file(DiffusionModelUNet(**network).state_dict(), folder / "model" / "models" / "model.safetensors")


def _workbook(path: Path, cells: dict[tuple[int, int], str]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for (row, column), value in cells.items():
        book.active.cell(row + 1, column + 1, value)  # type: ignore[union-attr]
    book.save(path)


def bombs() -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Yield inputs that ask for far more than they hold: name, family whose original they replace, function."""
    import nibabel as nib
    import numpy as np

    def huge_header(folder: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_shape((20000, 20000, 20000))
        header.set_data_dtype(np.float64)
        header["vox_offset"], header["sform_code"], header["magic"] = 352, 1, b"n+1"
        header.set_sform(np.diag([0.01, 0.01, 0.01, 1.0]))
        with gzip.open(folder / "sub-01_T1w.nii.gz", "wb") as file:
            file.write(header.binaryblock + bytes(4))

    def gzip_bomb(folder: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_shape((1600, 1600, 1600))
        header.set_data_dtype(np.uint8)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header.set_sform(np.diag([0.1, 0.1, 0.1, 1.0]), 1)
        with gzip.open(folder / "sub-01_T1w.nii.gz", "wb", 9) as file:
            file.write(header.binaryblock + bytes(4))
            for _ in range(400):
                file.write(bytes(1 << 20))

    def far_cell(folder: Path) -> None:
        _workbook(folder / "participants.xlsx", {(0, 0): "participant_id", (1048575, 16383): "x"})

    def zip_bomb(folder: Path) -> None:
        path = folder / "participants.xlsx"
        with zipfile.ZipFile(path) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"].replace(
            b"</sheetData>", b"<row>" + b"<c/>" * 50_000_000 + b"</row></sheetData>"
        )
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name, content in parts.items():
                new.writestr(name, content)

    def wide_table(folder: Path) -> None:
        (folder / "participants.tsv").write_text("participant_id\t" + "x\t" * 3_000_000 + "\n")

    def deep_json(name: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            (folder / name).write_text('{"configuration":' + "[" * 200_000 + "]" * 200_000 + "}")

        return write

    def long_number(folder: Path) -> None:
        path = folder / "model" / "model.json"
        path.write_text(path.read_text().replace("16", "9" * 5000, 1))

    def large_box(folder: Path) -> None:
        path = folder / "model" / "model.json"
        path.write_text(path.read_text().replace("16,", "1600,").replace("16\n", "1600\n"))

    def large_store(folder: Path) -> None:
        for path in folder.glob("small.zarr/*/zarr.json"):
            told = json.loads(path.read_text())
            told["shape"] = [10**9 if side == 3 else side for side in told["shape"]]
            path.write_text(json.dumps(told))

    def long_safetensors(folder: Path) -> None:
        (folder / "model" / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")

    yield "header of 64 TB", "nifti.gz", huge_header
    yield "gzip bomb", "nifti.gz", gzip_bomb
    yield "cell in the far corner", "xlsx", far_cell
    yield "zip bomb", "xlsx", zip_bomb
    yield "three million columns", "tsv", wide_table
    yield "nested card", "card", deep_json("model/model.json")
    yield "nested sidecar", "sidecar", deep_json("sample_001_T1.json")
    yield "number of 5000 digits", "card", long_number
    yield "box of 1600 voxels", "card", large_box
    yield "store of 10^9 subjects", "store", large_store
    yield "safetensors header of 2^62 bytes", "weights", long_safetensors


# -- mutations ---------------------------------------------------------------------------------------------------------


def mutate(folder: Path, family: str, rng: random.Random) -> str:
    """Damage one file of a folder, and say which and how."""
    structured = {"card": ["model/model.json"], "sidecar": ["sample_001_T1.json"], "run": ["made/run.json"]}
    if family in ("store", "model", "bundle", "training", "dataset"):
        file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))
    elif family == "run":
        file = folder / "made" / rng.choice(["run.json", "events.jsonl"])
    elif family in structured:
        file = folder / structured[family][0]
    elif family == "weights":
        file = folder / "model" / "model.safetensors"
    else:
        file = next(path for path in sorted(folder.iterdir()) if path.is_file())
    data = file.read_bytes()
    if file.suffix == ".json" and rng.random() < 0.85:
        told = json.loads(data)
        how = [_mutate_json(told, rng) for _ in range(rng.choice([1, 1, 1, 2, 4]))]
        file.write_text(json.dumps(told))
        return f"{file.relative_to(folder)}: {'; '.join(how)}"
    zipped = data[:2] == b"\x1f\x8b" and rng.random() < 0.6
    content, how_bytes = _mutate_bytes(gzip.decompress(data) if zipped else data, rng, head=family != "store")
    file.write_bytes(gzip.compress(content, 1, mtime=0) if zipped else content)
    return f"{file.relative_to(folder)}{' (inside gzip)' if zipped else ''}: {how_bytes}"


def _mutate_json(told: Any, rng: random.Random) -> str:
    places: list[tuple[Any, Any, str]] = []

    def walk(value: Any, at: str) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, below in items:
            places.append((value, key, f"{at}.{key}"))
            walk(below, f"{at}.{key}")

    walk(told, "")
    if not places:
        return "nothing left"
    parent, key, at = rng.choice(places)
    what = rng.random()
    if what < 0.12:
        del parent[key]
        return f"{at} removed"
    if what < 0.2 and isinstance(parent, dict):
        parent[rng.choice(["x", "../x", "", "a\tb"])] = parent.pop(key)
        return f"{at} renamed"
    if what < 0.3 and isinstance(parent[key], list):
        parent[key] = parent[key] * rng.choice([0, 2, 50])
        return f"{at} repeated"
    if what < 0.45 and isinstance(parent[key], int | float):
        parent[key] = parent[key] * rng.choice([-1, 0.5, 2, 100, 1e6])
        return f"{at} = {parent[key]}"
    parent[key] = rng.choice(NASTY)
    return f"{at} = {str(parent[key])[:40]!r}"


def _mutate_bytes(data: bytes, rng: random.Random, *, head: bool) -> tuple[bytes, str]:
    changed = bytearray(data)
    kind = rng.choice(["bytes", "bytes", "bytes", "number", "cut", "doubled", "removed", "text", "zeros"])
    # Most of what decides a file stands at its begin.
    end = min(len(changed), 600) if head and rng.random() < 0.8 else len(changed)
    at = rng.randrange(max(1, end))
    if kind == "bytes":
        for _ in range(rng.choice([1, 2, 8, 64])):
            if changed:
                changed[rng.randrange(max(1, end))] = rng.randrange(256)
    elif kind == "number":
        size = rng.choice([2, 4, 8])
        changed[at : at + size] = rng.choice([b"\xff", b"\x00", b"\x7f", b"\x80"]) * size
    elif kind == "cut":
        del changed[at:]
    elif kind == "doubled":
        changed[at:at] = changed[at : at + rng.choice([1, 16, 4096])]
    elif kind == "removed":
        del changed[at : at + rng.choice([1, 3, 16, 4096])]
    elif kind == "text":
        changed[at:at] = str(rng.choice(NASTY)).encode()[:100]
    else:
        changed[at : at + 64] = bytes(64)
    return bytes(changed), f"{kind} at {at} of {len(data)}"


def perform(run: Any) -> Iterator[Any]:
    """Perform a run; an unexpected exception of the job is raised."""
    from braindiffusion.errors import BrainDiffusionError
    from braindiffusion.jobs import perform
    from braindiffusion.runs import Failed

    for event in perform(run):
        if isinstance(event, Failed):
            if run.error_file.is_file():
                raise RuntimeError(run.error_file.read_text())
            raise BrainDiffusionError(event.message)
        yield event

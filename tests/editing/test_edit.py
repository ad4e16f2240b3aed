"""Edits of a real scan with a small model: what changes, what stays, and what is refused."""

import json
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.conditions import ConditionSchema, MapField
from braindiffusion.editing.scan import box_scan, interpolate, linear_fill, nearest_fill, painted_voxels
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_t1_path
from braindiffusion.jobs.edit import edit
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import REGIONS
from braindiffusion.runs import ArtifactWritten, EditRequest, Progress, Run
from braindiffusion.volume import Volume, load_volume, save_volume

SETTINGS = Preprocessing(spacing=8.0, shape=(20, 26, 22))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=2, refinement=0.3)
    cascade = Cascade(CascadeConfig(shape=SETTINGS.shape, spacing=8.0, depth=1, levels=(level,) * 2)).eval()
    with torch.no_grad():
        cascade.level(0).mean.fill_(0.0)
    folder = tmp_path_factory.mktemp("models") / "toy"
    save_model(cascade, folder, {"name": "toy", "preprocessing": SETTINGS.model_dump(mode="json")})
    return folder


@pytest.fixture(scope="module")
def scan() -> Volume:
    return load_volume(sample_t1_path())


@pytest.fixture
def painted(scan: Volume) -> Volume:
    """A cube of 24 mm in the middle of the brain."""
    data = np.zeros((1, *scan.shape), np.uint8)
    x, y, z = (n // 2 for n in scan.shape)
    data[0, x - 6 : x + 6, y - 6 : y + 6, z + 4 : z + 16] = 1
    return Volume(data, scan.affine, {"kind": "labels"})


def test_an_edit_changes_the_painted_voxels_only(model: Path, painted: Volume, tmp_path: Path, tmp_runs: Path) -> None:
    """Two proposals in the scan's own file format; all other voxels, and the header, stay to the last bit."""
    mask = tmp_path / "mask.nii.gz"
    save_volume(painted, mask)
    request = EditRequest(
        scan=sample_t1_path(),
        mask=mask,
        model=str(model),
        first_level=0,
        num_proposals=2,
        out=tmp_path,
        previews=True,
        device="cpu",
    )
    events = list(edit(request, Run.create(request)))
    written = [Path(event.path) for event in events if isinstance(event, ArtifactWritten) and event.kind == "volume"]
    assert [path.name for path in written] == ["proposal_001.nii.gz", "proposal_002.nii.gz"]
    assert any(isinstance(event, Progress) and "proposal 2 of 2" in event.stage for event in events)
    source = nib.load(sample_t1_path())
    original = np.asanyarray(source.dataobj)
    for path in written:
        image = nib.load(path)
        assert image.header.binaryblock == source.header.binaryblock
        voxels = load_volume(path).data[0]
        before, marked = load_volume(sample_t1_path()).data[0], painted.data[0] > 0
        np.testing.assert_array_equal(voxels[~marked], before[~marked])
        assert (voxels[marked] != before[marked]).mean() > 0.5
        assert original.dtype == np.asanyarray(image.dataobj).dtype
        told = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert told["synthetic"] == "part"
        assert told["painted_ml"] == pytest.approx(12**3 * 0.008, rel=0.01)
    written[1].write_bytes(b"mine")
    with pytest.raises(BrainDiffusionError, match="choose another output"):
        list(edit(request, Run.create(request)))


def test_an_oblique_scan_with_a_scale_keeps_its_stored_numbers(
    model: Path, scan: Volume, tmp_path: Path, tmp_runs: Path
) -> None:
    """int16 with slope and intercept, 2.4 mm, tilted, axes permuted; the mask lies on the grid of another scan."""
    turn = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.1, 0.15), [3.0, -5.0, 2.0])
    affine = turn @ scan.affine @ np.diag([1.2, 1.2, 1.2, 1])
    from braindiffusion.volume import resample

    tilted = resample(scan, affine, (100, 100, 76)).data[0]
    stored = np.rint((tilted - 5) / 0.25).astype(np.int16).transpose(2, 0, 1)[:, ::-1]
    axes = np.array([[0, -1, 0, 99], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    image = nib.Nifti1Image(stored, affine @ axes)
    image.header.set_slope_inter(0.25, 5.0)
    nib.save(image, tmp_path / "scan.nii.gz")
    data = np.zeros((1, *scan.shape), np.uint8)
    data[0, 50:62, 55:67, 45:57] = 2
    save_volume(Volume(data, scan.affine, {"kind": "labels"}), tmp_path / "mask.nii.gz")
    request = EditRequest(
        scan=tmp_path / "scan.nii.gz",
        mask=tmp_path / "mask.nii.gz",
        label=2,
        model=str(model),
        first_level=1,
        device="cpu",
    )
    run = Run.create(request)
    list(edit(request, run))
    made = nib.load(run.results / "proposal_001.nii.gz")
    numbers = np.asanyarray(made.dataobj.get_unscaled())
    changed = numbers != stored
    assert made.header.binaryblock == nib.load(tmp_path / "scan.nii.gz").header.binaryblock
    marked = painted_voxels(load_volume(tmp_path / "scan.nii.gz"), load_volume(tmp_path / "mask.nii.gz"), 2)
    assert 0.5 * marked.sum() < changed.sum() <= marked.sum()


@pytest.mark.parametrize(("finer", "shift"), [(2.0, 0.0), (0.5, 0.5), (1.0, 0.5), (4.0, 0.0)])
def test_what_is_painted_on_another_grid_stays_in_its_place(finer: float, shift: float) -> None:
    """Where voxels of the scan lie in the middle between two of the mask, none of the two always wins."""
    scan = Volume(np.zeros((1, 32, 32, 32), np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    step = np.diag([1 / finer] * 3 + [1.0])
    step[:3, 3] = (1 / finer - 1) / 2 + shift / finer  # the same outer corner, but for the shift
    affine = scan.affine @ step
    side = round(32 * finer)
    ball = np.linalg.norm(np.indices((side,) * 3) - (side - 1) / 2, axis=0) < side / 4
    marked = painted_voxels(scan, Volume(ball[None].astype(np.uint8), affine, {"kind": "labels"}))
    centres = [(at @ [*ndimage.center_of_mass(where), 1])[:3] for at, where in ((affine, ball), (scan.affine, marked))]
    np.testing.assert_allclose(centres[0], centres[1], atol=0.1)


def test_a_box_goes_back_to_the_intensities_of_its_scan(scan: Volume, painted: Volume) -> None:
    """The box of a scan, put back where it is painted, is the scan to the blur of resampling."""
    boxed = box_scan(scan, painted.data[0] > 0, SETTINGS.model_copy(update={"spacing": 2.0, "shape": (80, 104, 88)}))
    assert boxed.background == 0  # the sample is skull-stripped
    assert boxed.hole.sum() == (painted.data > 0).sum()  # of the same spacing
    whole = box_scan(scan, None, SETTINGS.model_copy(update={"spacing": 2.0, "shape": (80, 104, 88)}))
    marked = painted.data[0] > 0
    back = boxed.with_painted(np.where(boxed.hole, whole.box, boxed.box)).data[0]
    np.testing.assert_array_equal(back[~marked], scan.data[0][~marked])
    old, new = (one[marked].astype(float) for one in (scan.data[0], back))
    assert np.abs(old - new).mean() < 0.02 * np.ptp(old) + 1


def test_intensities_do_not_depend_on_the_value_of_the_background(scan: Volume) -> None:
    """What is generated gets the unit of the scan, also where its background is not just below its tissue."""
    brain = scan.data.astype(np.float32)
    middle, spread = brain[brain > 0].mean(), brain[brain > 0].std()
    scaled = (brain - middle) / spread
    found = [
        box_scan(Volume(np.where(brain > 0, scaled, background), scan.affine), None, SETTINGS)
        for background in (scaled[brain > 0].min(), np.float32(0), np.float32(-30))
    ]
    assert [one.background for one in found[1:]] == [0.0, -30.0]
    for one in found[1:]:
        assert (one.low, one.high) == pytest.approx((found[0].low, found[0].high), abs=0.01)


def test_a_variation_starts_from_what_the_scan_shows(scan: Volume, painted: Volume) -> None:
    marked = painted.data[0] > 0
    filled, kept, whole = (
        box_scan(scan, *some, SETTINGS, fill=f) for some, f in (((marked,), True), ((marked,), False), ((None,), False))
    )
    np.testing.assert_array_equal(kept.box, whole.box)
    assert np.abs(filled.box - kept.box)[kept.hole].mean() > 0.02


def test_fills_take_what_surrounds_a_hole() -> None:
    ramp = np.broadcast_to(np.arange(12.0, dtype=np.float32)[:, None, None], (12, 12, 12)).copy()
    hole = np.zeros(ramp.shape, bool)
    hole[4:8, 4:8, 4:8] = True
    holed = np.where(hole, np.float32(99), ramp)
    np.testing.assert_allclose(linear_fill(holed, hole), ramp, atol=1e-4)
    np.testing.assert_allclose(interpolate(holed / 20, hole), ramp / 20, atol=1e-4)
    filled = nearest_fill(holed, hole)
    assert filled.max() == 11
    np.testing.assert_array_equal(filled[~hole], ramp[~hole])


def test_what_cannot_be_edited_is_told(
    model: Path, scan: Volume, painted: Volume, tmp_path: Path, tmp_runs: Path
) -> None:
    empty = Volume(np.zeros_like(painted.data), scan.affine, {"kind": "labels"})
    with pytest.raises(BrainDiffusionError, match="0 everywhere"):
        painted_voxels(scan, empty)
    with pytest.raises(BrainDiffusionError, match="no voxel of label 7"):
        painted_voxels(scan, painted, 7)
    away = Volume(painted.data, scan.affine + np.array([[0, 0, 0, 900.0]] + [[0.0] * 4] * 3))
    with pytest.raises(BrainDiffusionError, match="outside of the scan"):
        painted_voxels(scan, away)
    with pytest.raises(BrainDiffusionError, match="channels"):
        painted_voxels(scan, Volume(np.repeat(painted.data, 2, 0), scan.affine))
    with pytest.raises(BrainDiffusionError, match="covers all of the scan"):
        nearest_fill(scan.data[0].astype(np.float32), np.ones(scan.shape, bool))
    corner = np.zeros(scan.shape, bool)
    corner[:4, :4, :4] = True
    with pytest.raises(BrainDiffusionError, match="No brain lies under the mask"):
        box_scan(scan, corner, SETTINGS)
    nearly_all = np.ones(scan.shape, bool)
    nearly_all[0, 0, 0] = False
    for fill in (True, False):
        with pytest.raises(BrainDiffusionError, match="The mask covers nearly all of the brain"):
            box_scan(scan, nearly_all, SETTINGS, fill=fill)
    requests = {
        "Give a mask": {"first_level": 0},
        "The model has 2 levels": {},
        "takes no region map": {"first_level": 1, "anatomy": "scan"},
    }
    for message, fields in requests.items():
        request = EditRequest(scan=sample_t1_path(), model=str(model), device="cpu", **fields)
        with pytest.raises(BrainDiffusionError, match=message):
            list(edit(request, Run.create(request)))
    nothing_painted = EditRequest(scan=sample_t1_path(), first_level=2, anatomy="sampled", device="cpu")
    with pytest.raises(BrainDiffusionError, match="sampled for a painted part"):
        list(edit(nothing_painted, Run.create(nothing_painted)))


def test_a_whole_brain_is_varied_with_its_own_region_map_and_guided_by_it(
    scan: Volume, painted: Volume, tmp_path: Path, tmp_runs: Path
) -> None:
    """Unless told otherwise; a painted part is not guided."""
    level = LevelConfig(
        unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,), map_width=4), steps=2, refinement=0.3
    )
    schema = ConditionSchema(fields=(MapField(name="regions", labels=len(REGIONS)),))
    config = CascadeConfig(shape=SETTINGS.shape, spacing=8.0, depth=1, levels=(level,) * 2, condition=schema)
    cascade = Cascade(config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for p in cascade.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    guidance = {"scale": 2.0, "fields": ["regions"]}
    save_model(
        cascade,
        tmp_path / "toy",
        {"name": "toy", "preprocessing": SETTINGS.model_dump(mode="json"), "guidance": guidance},
    )
    save_volume(painted, tmp_path / "mask.nii.gz")
    made, told = {}, {}
    for name, fields in {
        "default": {},
        "the same, said": {"anatomy": "scan", "guidance": 2.0},
        "no guidance": {"guidance": 1.0},
        "no map": {"anatomy": "none"},
        "painted": {"anatomy": "scan", "mask": tmp_path / "mask.nii.gz"},
    }.items():
        request = EditRequest(
            scan=sample_t1_path(), model=str(tmp_path / "toy"), first_level=1, out=tmp_path / name, **fields
        )
        list(edit(request, Run.create(request)))
        made[name] = load_volume(tmp_path / name / "proposal_001.nii.gz").data
        told[name] = json.loads((tmp_path / name / "proposal_001.json").read_text()).get("guidance")
    np.testing.assert_array_equal(made["default"], made["the same, said"])
    assert told["default"]["scale"] == 2
    assert told["no guidance"] is told["no map"] is told["painted"] is None
    others = [made[name] for name in ("default", "no guidance", "no map")]
    assert all((a != b).mean() > 0.1 for a, b in combinations(others, 2))


def test_another_contrast_is_refused(scan: Volume) -> None:
    """White matter that is darker than cortex is no T1w scan's."""
    boxed = box_scan(scan, None, SETTINGS)
    from braindiffusion.editing.scan import _check_contrast

    _check_contrast(boxed.box, boxed.regions, boxed.regions > 0)
    with pytest.raises(BrainDiffusionError, match="does not look T1-weighted"):
        _check_contrast(-boxed.box, boxed.regions, boxed.regions > 0)

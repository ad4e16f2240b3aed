"""What a level is shown: the right coefficients, from the right place, the same at every resume."""

import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

import numpy as np
import psutil
import pytest
import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.regions import region_index, volumes_ml
from braindiffusion.training.augment import Warp, augment
from braindiffusion.training.copy_cache import Blocks, Brain, CopyCache
from braindiffusion.training.patches import PatchDataset
from braindiffusion.training.recipe import LevelRecipe
from braindiffusion.training.subject_condition import schema_of

UNET = UNetConfig(widths=(8,), blocks=(1,), attention=(False,))


@pytest.fixture
def cascade() -> Cascade:
    levels = (LevelConfig(unet=UNET), LevelConfig(unet=UNET), LevelConfig(unet=UNET, patch=4))
    return Cascade(CascadeConfig(shape=(16, 24, 16), spacing=8.0, depth=2, levels=levels))


def test_a_patch_is_where_it_says(cohort: Cohort, cascade: Cascade) -> None:
    patches = PatchDataset(cohort, cascade, 2, [0, 1, 2], 0, seed=7)
    for step in range(5):
        batch = patches.batch(step, 3)
        assert batch.bands.shape == (3, 8, 1, 4, 4, 4)
        for bands, origin in zip(batch.bands, batch.origin.int().tolist(), strict=True):
            x, y, z = origin
            cut = (slice(None), slice(None), slice(x, x + 4), slice(y, y + 4), slice(z, z + 4))
            wholes = [patches.brain(s).bands[cut] for s in range(3)]
            assert any(torch.equal(bands, whole) for whole in wholes)


def test_patches_are_centred_in_the_brain(cohort: Cohort, cascade: Cascade) -> None:
    patches = PatchDataset(cohort, cascade, 2, [0], 0, seed=7)
    inside = patches.brain(0).inside
    for step in range(20):
        x, y, z = patches.batch(step, 1).origin[0].int().tolist()
        assert inside[x : x + 4, y : y + 4, z : z + 4].max() > 0


def test_a_batch_depends_on_its_step_alone(cohort: Cohort, cascade: Cascade) -> None:
    one, other = (PatchDataset(cohort, cascade, 2, [0, 1, 2, 3], 4, seed=7) for _ in range(2))
    torch.manual_seed(1)
    for step in range(3):
        one.batch(step, 2)
    torch.manual_seed(99)
    assert torch.equal(one.batch(3, 2).bands, other.batch(3, 2).bands)
    assert not torch.equal(one.batch(3, 2).bands, one.batch(4, 2).bands)
    assert not torch.equal(
        one.batch(3, 2).bands, PatchDataset(cohort, cascade, 2, [0, 1, 2, 3], 4, 8).batch(3, 2).bands
    )


def test_the_last_samples_are_of_brains_as_they_are(cohort: Cohort, cascade: Cascade) -> None:
    subjects = [0, 1, 2, 3]
    plain, augmented = (PatchDataset(cohort, cascade, 1, subjects, copies, seed=7) for copies in (0, 4))
    both = PatchDataset(cohort, cascade, 1, subjects, 4, seed=7, augmented=6)
    assert torch.equal(both.batch(2, 2).bands, augmented.batch(2, 2).bands)
    own = [plain.brain(subject).bands for subject in subjects]
    assert all(any(torch.equal(made, brain) for brain in own) for made in both.batch(3, 2).bands)
    recipe = LevelRecipe(batch_size=2, epochs=1, unaugmented=0.4)
    assert recipe.augmented_samples(5) == 6
    assert recipe.augmented_samples(5, processes=3) == 18


def test_each_brain_is_seen_once_an_epoch(cohort: Cohort, cascade: Cascade) -> None:
    patches = PatchDataset(cohort, cascade, 1, [0, 1, 2, 3, 4, 5], 0, seed=0)
    wholes = [patches.brain(s).bands for s in range(6)]
    for epoch in range(2):
        seen = [b for step in range(3) for b in patches.batch(3 * epoch + step, 2).bands]
        order = [next(i for i, whole in enumerate(wholes) if torch.equal(b, whole)) for b in seen]
        assert sorted(order) == [0, 1, 2, 3, 4, 5]


def test_little_memory_changes_nothing(cohort: Cohort, cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    rich = PatchDataset(cohort, cascade, 1, [0, 1, 2], 0, seed=0).batch(0, 3).bands
    monkeypatch.setattr("braindiffusion.training.copy_cache.CACHE_BYTES", 1)
    poor = PatchDataset(cohort, cascade, 1, [0, 1, 2], 0, seed=0)
    assert torch.equal(poor.batch(0, 3).bands, rich)
    assert len(poor.cache) == 1


def test_copies_that_levels_share_are_those_that_each_would_make(cohort: Cohort, cascade: Cascade) -> None:
    cache = CopyCache()
    shared = [PatchDataset(cohort, cascade, n, [0, 1], 4, 0, levels=(0, 1), cache=cache) for n in (0, 1)]
    alone = [PatchDataset(cohort, cascade, n, [0, 1], 4, 0) for n in (0, 1)]
    for copy in range(4):
        for together, single in zip(shared, alone, strict=True):
            one, other = together.brain(1, copy), single.brain(1, copy)
            assert torch.equal(one.bands, other.bands)
            assert torch.equal(one.inside, other.inside)
    assert len(cache) == 4
    made = cache.bytes
    for copy in range(4):
        shared[1].brain(1, copy)
    assert cache.bytes == made, "nothing is made twice"


def test_augmentation_mirrors_left_and_right_and_moves_within_limits(cohort: Cohort) -> None:
    volume = torch.from_numpy(np.asarray(cohort.volumes[0], dtype=np.float32))
    mask = torch.from_numpy(np.asarray(cohort.masks[0], dtype=np.float32))[None]
    (same, *_), (mirrored, *_) = augment(volume, mask, None, 8.0, (0, 0, 0))
    assert torch.equal(same, volume)
    assert torch.equal(mirrored, volume.flip(1))
    (moved, moved_mask, _), (moved_mirrored, *_) = augment(volume, mask, None, 8.0, (0, 0, 1))
    assert torch.equal(augment(volume, mask, None, 8.0, (0, 0, 1))[0][0], moved)
    assert not torch.equal(moved, volume)
    assert torch.equal(moved_mirrored, moved.flip(1))
    assert float(moved.min()) >= -1
    assert float(moved.max()) <= 1
    grown = float(moved_mask.sum() / mask.sum())
    assert 0.96**3 - 0.05 < grown < 1.04**3 + 0.05


def test_kept_tensors_lie_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their kind and layout; one that is larger than a block has a block of its own."""
    monkeypatch.setattr(Blocks, "SIZE", 1000)
    blocks = Blocks()
    small = [torch.arange(7, dtype=torch.uint8), torch.rand(3, 5).T, torch.rand(2, 2, dtype=torch.float64)]
    kept = [blocks.keep(one) for one in small]
    large, empty = blocks.keep(torch.ones(2000)), blocks.keep(torch.empty(0, 3))
    after = blocks.keep(small[0])
    blocks.release()
    for one, other in zip([*small, small[0]], [*kept, after], strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert large.sum() == 2000
    assert empty.shape == (0, 3)
    assert len({one.untyped_storage().data_ptr() for one in kept}) == 1
    assert len({one.untyped_storage().data_ptr() for one in (kept[0], large, after)}) == 3


def test_what_was_read_is_released_when_no_copy_is_being_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads make batches: one may begin a block while the other is about to go through all of them."""
    cache, adding, may_end = CopyCache(), Event(), Event()
    order: list[str] = []

    def keep(_: Blocks, tensor: torch.Tensor) -> torch.Tensor:
        adding.set()
        may_end.wait(10)
        order.append("added")
        return tensor

    monkeypatch.setattr(Blocks, "keep", keep)
    monkeypatch.setattr(Blocks, "release", lambda _: order.append("released"))
    with ThreadPoolExecutor(2) as threads:
        put = threads.submit(cache.put, (0, 0), {0: Brain(torch.ones(4), torch.ones(4), {})})
        assert adding.wait(10)
        release = threads.submit(cache.release)
        wait([release], timeout=0.2)
        may_end.set()
        put.result()
        release.result()
    assert order == ["added", "added", "released"]


def test_a_folder_that_takes_no_copies_is_told(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"cannot be kept in .*missing.*make room there"):
        Blocks(tmp_path / "missing").keep(torch.ones(3))


@pytest.mark.skipif(sys.platform != "linux", reason="pages of files are counted on Linux alone")
def test_what_was_read_is_no_memory_of_the_process(tmp_path: Path) -> None:
    """Of 64 MB that are written and read, nothing stays in it after the release.

    Counted are pages of files alone: an allocator may keep freed memory, which says nothing of the blocks.
    """
    blocks = Blocks(tmp_path)
    before = psutil.Process().memory_info().shared
    kept = blocks.keep(torch.ones(2**24))
    assert float(kept.sum()) == 2**24
    assert psutil.Process().memory_info().shared - before > 60e6
    blocks.release()
    assert psutil.Process().memory_info().shared - before < 20e6
    assert float(kept[-1]) == 1
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_three_quarters_of_the_copies_have_thin_sulci_in_their_map(tmp_path: Path) -> None:
    """The others are as label maps come. Volumes are those without thin sulci, and a copy is the same at every call."""
    shape, names = (16, 24, 16), ("left frontal cortex", "left cerebral white matter", "sulcal csf")
    cortex, white, fluid = map(region_index, names)
    store = Cohort.create(tmp_path / "banks.zarr", Preprocessing(spacing=2.0, shape=shape), labels=np.dtype(np.uint16))
    for number in range(2):
        labels = np.full(shape, white, np.uint16)
        labels[:, :, 4:11], labels[:, :, : 2 + number] = cortex, fluid
        image = np.select([labels == cortex, labels == fluid], [0.0, -0.9], 0.6)
        image[:, :, 7] -= 0.4
        volume = image[None].astype(np.float16)
        store.put(Subject(id=f"s{number}"), PreparedVolume(volume, labels > 0, labels, np.eye(4)))
    store.finish()
    cohort = Cohort.open(tmp_path / "banks.zarr")
    condition = schema_of(cohort, [0, 1])
    levels = (LevelConfig(unet=UNET),)
    cascade = Cascade(CascadeConfig(shape=shape, spacing=2.0, depth=0, levels=levels, condition=condition))
    still = Warp(affine=False)

    def made() -> list[Brain]:
        patches = PatchDataset(cohort, cascade, 0, [0, 1], 60, seed=7, warp=still)
        return [patches.brain(subject, copy) for subject in (0, 1) for copy in range(-1, 60)]

    brains, again = made(), made()
    sulcus = [bool((one.condition["regions"][0, :, :, 7] == fluid).all()) for one in brains]
    assert 0.6 < np.mean(sulcus) < 0.9
    assert {bool((one.condition["regions"][0, :, :, 5] == fluid).any()) for one in brains} == {False}
    for one, other, finer in zip(brains, again, sulcus, strict=True):
        assert torch.equal(one.condition["regions"], other.condition["regions"])
        of_map = volumes_ml(one.condition["regions"][0].numpy(), 2.0)[1:]
        given = one.condition["volumes"][0].numpy()
        assert np.allclose(of_map, given, equal_nan=True) != finer

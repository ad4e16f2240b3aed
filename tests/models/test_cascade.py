"""The cascade as bookkeeping: true coefficients through all levels give the true volume, in every layout."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from braindiffusion.conditions import ConditionSchema, MapField
from braindiffusion.generation.guidance import Guidance
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.cascade.generator import CascadeGenerator, SampledCascade
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.models.generator import BandEdit

TINY = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)))
PATCHED = CascadeConfig(
    shape=(32, 32, 16), depth=2, levels=(TINY, TINY, TINY.model_copy(update={"patch": 4, "steps": 3}))
)


@pytest.mark.parametrize(
    ("depth", "joint", "levels", "bands"),
    [(0, False, 1, [1]), (1, True, 1, [8]), (3, False, 4, [1, 7, 7, 7]), (3, True, 3, [8, 7, 7])],
)
def test_true_coefficients_give_the_true_volume(depth: int, joint: bool, levels: int, bands: list[int]) -> None:
    config = CascadeConfig(shape=(16, 24, 8), depth=depth, joint_base=joint, channels=2, levels=(TINY,) * levels)
    cascade = Cascade(config)
    volume = torch.randn(2, 2, 16, 24, 8)
    coarse = None
    for index in range(levels):
        level = cascade.level(index)
        level.mean.uniform_(-1, 1)
        level.std.uniform_(0.5, 2)
        true = cascade.decompose(volume, index)
        assert true.shape[3:] == config.grid(index)
        if coarse is not None:
            torch.testing.assert_close(coarse, true[:, 0], atol=1e-4, rtol=1e-4)
        generated = level.normalise(true)[:, 1 if index else 0 :]
        assert generated.shape[1] == bands[index] == config.bands(index)
        coarse = cascade.reconstruct(index, generated.flatten(1, 2), coarse)
    torch.testing.assert_close(coarse, volume, atol=1e-4, rtol=1e-4)


def test_coordinates_are_millimetres_from_the_middle() -> None:
    level = Cascade(CascadeConfig(shape=(16, 24, 8), spacing=2.0, depth=3, levels=(TINY,) * 4)).level(2)
    whole = level.coordinates()
    assert whole.shape == (1, 3, 4, 6, 2)
    assert whole[0, 0, :, 0, 0].tolist() == [-12.0, -4.0, 4.0, 12.0]  # sites of 8 mm over 32 mm
    assert float(whole.mean()) == pytest.approx(0)
    patch = level.coordinates(torch.tensor([[1, 2, 0]]), (2, 3, 2))
    torch.testing.assert_close(patch[0], whole[0, :, 1:3, 2:5, :])


def test_features_of_a_label_map_that_are_kept_are_those_of_its_labels_and_weights() -> None:
    schema = ConditionSchema(fields=(MapField(name="regions", labels=5),))
    level = Cascade(CascadeConfig(shape=(16, 24, 8), depth=2, levels=(TINY,) * 3, condition=schema)).level(1)
    encoder = level.conditioning
    torch.nn.init.normal_(encoder.maps["regions"].vectors.weight)
    first, second = torch.randint(0, 5, (2, 2, 16, 24, 8), dtype=torch.uint8)

    def right(labels: Tensor) -> bool:
        with torch.no_grad():
            _, fresh = encoder({"regions": labels})
        with torch.inference_mode():
            _, kept = encoder({"regions": labels})
        return torch.equal(fresh, kept)

    assert all(right(labels) for labels in (first, first, second, first[:1], second[:, :8]))
    with torch.no_grad():
        encoder.maps["regions"].vectors.weight.mul_(2)
    assert right(second[:, :8])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": (20, 24, 8), "depth": 3}, "multiple of 8"),
        ({"shape": (16, 24, 8), "depth": 2}, "needs 3 levels"),
        ({"shape": (16, 24, 8), "depth": 0, "joint_base": True}, "depth of at least 1"),
    ],
)
def test_what_does_not_fit_is_told(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CascadeConfig(levels=(TINY,) * 4, **fields)


def _at_the_finest(volume: Tensor) -> BandEdit:
    """Hand the finest level the coarse band of a volume."""
    cascade = Cascade(PATCHED)
    return lambda index, band: cascade.decompose(volume, 2)[:, 0] if index == 2 else band


def test_air_is_neither_computed_nor_changed_and_a_sample_does_not_depend_on_its_batch() -> None:
    """Boxes of other samples than one's own must not matter."""
    noise = torch.Generator().manual_seed(0)
    cascade = Cascade(PATCHED).eval()
    with torch.no_grad():
        for p in cascade.parameters():
            p.copy_(0.1 * torch.randn(p.shape, generator=noise))
    volume = torch.full((2, 1, 32, 32, 16), -1.0)
    volume[0, :, 10:20, 8:17, 3:12] = 0.5
    volume[1, :, 4:13, 14:30, 5:9] = 0.2

    def made(rows: list[int]) -> Tensor:
        edit = _at_the_finest(volume[rows])
        *_, step = sample_cascade(cascade, [7 + row for row in rows], edit_band=edit)
        return step.denoised

    both = made([0, 1])
    for row in (0, 1):
        torch.testing.assert_close(both[row], made([row])[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(both[0, 0, 22:], torch.full((10, 32, 16), -1.0))
    assert (both[0, 0, 8:22, 6:18, 2:14] != -1).all(), "one site around what is no air is generated"
    level = cascade.level(2)
    assert level.windows_without_air(cascade.decompose(volume, 2)[:, 0])[0] == (slice(4, 11), slice(2, 10), slice(0, 7))
    assert level.windows_without_air(torch.full((1, 1, 16, 16, 8), 3.0)) == [(slice(0, 16), slice(0, 16), slice(0, 8))]


def test_a_weaker_model_that_guides_leaves_air_as_it_is() -> None:
    """Neither model has learnt what detail air has, and the difference of two guesses would be added to it."""
    noise = torch.Generator().manual_seed(0)
    strong, weak = (SampledCascade(Cascade(PATCHED).eval(), ModelCard()) for _ in range(2))
    with torch.no_grad():
        for one in (strong, weak):
            for p in one.cascade.parameters():
                p.copy_(0.1 * torch.randn(p.shape, generator=noise))
    volume = torch.full((1, 1, 32, 32, 16), -1.0)
    volume[0, :, 10:20, 8:17, 3:12] = 0.5
    guidance = Guidance(2.0, weak=CascadeGenerator(weak.cascade, weak.card))
    *_, step = strong.sample([7], hooks=[guidance], edit_band=_at_the_finest(volume))
    torch.testing.assert_close(step.denoised[0, 0, 22:], torch.full((10, 32, 16), -1.0))


def test_boxes_may_have_few_sizes() -> None:
    """On CUDA, where a network is compiled for each size: boxes grow, within the grid, and start at an even site."""
    level = Cascade(PATCHED).level(2)
    where = torch.zeros(32, 32, 16, dtype=torch.bool)
    where[22:30, 2:8, :] = True
    small = level.window(where)
    level.box_multiple = 8
    large = level.window(where)
    assert [one.stop - one.start for one in small] == [10, 8, 8]
    assert [one.stop - one.start for one in large] == [16, 8, 8]
    for one, other in zip(small, large, strict=True):
        assert other.start <= one.start < one.stop <= other.stop
        assert other.start % 2 == 0


@pytest.mark.parametrize("voxel", [(0, 0, 0), (31, 31, 15), (16, 30, 1), (5, 6, 7)])
@pytest.mark.parametrize("multiple", [1, 8])
def test_a_box_is_as_long_as_a_patch_wherever_it_lies(voxel: tuple[int, int, int], multiple: int) -> None:
    """A level that learned on patches must not be given less than one of them, at either end of the grid."""
    patch = 12
    levels = (TINY, TINY, TINY.model_copy(update={"patch": patch}))
    level = Cascade(CascadeConfig(shape=(32, 32, 16), depth=2, levels=levels)).level(2)
    level.box_multiple = multiple
    where = torch.zeros(32, 32, 16, dtype=torch.bool)
    where[voxel] = True
    for box, sites, place in zip(level.window(where), level.grid, voxel, strict=True):
        assert box.stop - box.start >= min(patch, sites)
        assert 0 <= box.start <= place // 2 < box.stop <= sites
        assert box.start % 2 == 0

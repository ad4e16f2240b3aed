"""Features that the user brings: tables by name, and networks that equal MONAI's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import resnet10, resnet50

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer, load_encoder
from braindiffusion.evaluation.encoders.resnet import ResNet
from braindiffusion.evaluation.sources import Brain

NAMES = ["s1", "s2", "g1"]
ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)


def named(name: str) -> Brain:
    return Brain(name, np.zeros((4, 4, 4), np.float32), None, 2.0)


@pytest.fixture(params=["csv", "npz", "npy"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"mine.{request.param}"
    match request.param:
        case "csv":
            path.write_text("name,a,b\ng1,5,6\ns1,1,2\ns2,3,4\n")
        case "npz":
            np.savez(path, names=np.array(["s2", "g1", "s1"]), features=ROWS[[1, 2, 0]])
        case "npy":
            np.save(path, ROWS)
    return path


def test_a_table_gives_each_brain_its_row(table: Path) -> None:
    see = load_encoder(table, NAMES)
    for name, row in zip(NAMES, ROWS, strict=True):
        np.testing.assert_array_equal(see(named(name)), row)


def test_a_brain_without_features_is_told(table: Path) -> None:
    with pytest.raises(BrainDiffusionError, match=r"lacks features of s9|3 rows, and there are 4"):
        load_encoder(table, [*NAMES, "s9"])


def test_odd_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(BrainDiffusionError, match="no file of features"):
        load_encoder(tmp_path / "none.csv", NAMES)
    (tmp_path / "odd.txt").touch()
    with pytest.raises(BrainDiffusionError, match=r"ending is one of \.csv"):
        load_encoder(tmp_path / "odd.txt", NAMES)
    (tmp_path / "odd.npz").write_bytes(b"PK")
    with pytest.raises(BrainDiffusionError, match="cannot be read"):
        load_encoder(tmp_path / "odd.npz", NAMES)
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(BrainDiffusionError, match="no weights of a MedicalNet"):
        load_encoder(tmp_path / "odd.pth", NAMES)


def features_of_monai(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        x = net.maxpool(net.act(net.bn1(net.conv1(x))))
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
        return x.flatten(2).mean(2)


def test_medicalnet_in_3d(tmp_path: Path, make_brain: Callable) -> None:
    """MONAI's network has MedicalNet's names; the dilations of MedicalNet's last two stages are set by hand."""
    torch.manual_seed(0)
    theirs = resnet10(spatial_dims=3, n_input_channels=1, conv1_t_stride=2, bias_downsample=False).eval()
    for stage, apart in ((theirs.layer3, 2), (theirs.layer4, 4)):
        stage[0].conv1.stride = stage[0].downsample[0].stride = (1, 1, 1)
        for conv in (stage[0].conv1, stage[0].conv2):
            conv.dilation = conv.padding = (apart,) * 3
    path = tmp_path / "resnet_10.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, path)
    one = make_brain(0)
    inside = one.voxels > 0
    scaled = np.where(inside, (one.voxels - one.voxels[inside].mean()) / one.voxels[inside].std(), 0)
    expected = features_of_monai(theirs, torch.from_numpy(scaled.astype(np.float32))[None, None])[0]
    np.testing.assert_allclose(load_encoder(path, [])(one), expected, atol=1e-4, rtol=1e-3)


def test_radimagenet_in_2d(tmp_path: Path, make_brain: Callable) -> None:
    """Weights under the names of a sequence, as RadImageNet publishes them; features of three planes."""
    torch.manual_seed(1)
    theirs = resnet50(spatial_dims=2, n_input_channels=3, conv1_t_stride=2, bias_downsample=False).eval()
    ours = ResNet(2, 3, (3, 4, 6, 3), bottleneck=True).eval()
    weights = {k: v for k, v in theirs.state_dict().items() if k in ours.state_dict()}
    assert set(weights) == set(ours.state_dict())
    ours.load_state_dict(weights)
    x = torch.randn(2, 3, 33, 40)
    with torch.inference_mode():
        np.testing.assert_allclose(ours(x), features_of_monai(theirs, x), atol=1e-4, rtol=1e-3)
    order = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    renamed = {f"backbone.{order[k.split('.')[0]]}.{k.split('.', 1)[1]}": v for k, v in weights.items()}
    torch.save(renamed, tmp_path / "ResNet50.pt")
    seen = load_encoder(tmp_path / "ResNet50.pt", [])(make_brain(0))
    assert seen.shape == (3 * 2048,)
    assert np.isfinite(seen).all()


def test_regions_come_from_the_segmentation_model_or_else_from_the_brain_itself(make_brain: Callable) -> None:
    one = make_brain(1)

    class Reading:
        regions = np.zeros_like(one.labels)
        embedding = np.array([1.0, 2.0], np.float32)
        age = 40.0

    class Reader:
        def predict(self, volume: np.ndarray) -> Reading:
            assert volume.min() == -1
            np.testing.assert_allclose((volume + 1) / 2, one.voxels, atol=1e-6)
            return Reading()

    own, read = BrainMeasurer().measure(one, one.labels), BrainMeasurer(Reader()).measure(one)
    assert own.quantities["tissue: white"] > 0
    assert set(own.dice.values()) == {1.0}
    assert not own.features
    assert np.isnan(own.age)
    assert read.quantities["tissue: white"] == 0
    assert read.age == 40
    assert list(read.features) == ["embedding"]
    bare = Brain("b", one.voxels, None, 8.0)
    assert "tissue: white" not in BrainMeasurer().measure(bare).quantities

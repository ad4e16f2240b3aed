import torch

from braindiffusion.segmentation.network import SegmentationConfig, SegmentationNet, sites, voxels

CONFIG = SegmentationConfig(shape=(24, 16, 32), widths=(8, 16), down_blocks=(0, 1), up_blocks=(1, 1), hidden=8)


def test_sites_hold_eight_neighbours_and_become_voxels_again() -> None:
    volume = torch.arange(4 * 6 * 8.0).reshape(1, 1, 4, 6, 8)
    there = sites(volume)
    assert there.shape == (1, 8, 2, 3, 4)
    assert torch.equal(there[0, :, 1, 2, 3], volume[0, 0, 2:4, 4:6, 6:8].flatten())
    assert torch.equal(voxels(there.movedim(1, -1)), volume[:, 0])


def test_a_window_knows_where_in_the_box_it_is() -> None:
    net = SegmentationNet(CONFIG)
    whole = net._places(torch.zeros(1, 1, 24, 16, 32), None)
    window = net._places(torch.zeros(1, 1, 8, 8, 16), torch.tensor([[4.0, 8.0, 16.0]]))
    torch.testing.assert_close(window, whole[:, :, 2:6, 4:8, 8:16])
    torch.testing.assert_close(whole[0, 0, :, 0, 0], (torch.arange(12) * 2 + 1) / 12 - 1)


def test_what_is_far_away_changes_nothing() -> None:
    """No statistic over space: a window inside a whole head sees what the whole head sees."""
    torch.manual_seed(0)
    net = SegmentationNet(CONFIG)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    volume = torch.rand(1, 1, 24, 16, 32)
    other = volume.clone()
    other[..., 28:] = -1
    with torch.no_grad():
        one, two = net.trunk(volume)[0], net.trunk(other)[0]
    torch.testing.assert_close(one[..., :2, :], two[..., :2, :])
    assert not torch.allclose(one[..., 14:, :], two[..., 14:, :])

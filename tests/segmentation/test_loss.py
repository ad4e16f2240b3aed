import torch
import torch.nn.functional as F
from monai.losses import DiceLoss

from braindiffusion.regions import REGIONS
from braindiffusion.segmentation.loss import segmentation_loss
from braindiffusion.segmentation.network import SegmentationConfig, SegmentationNet, voxels


def test_the_loss_is_cross_entropy_and_monai_s_dice_where_every_site_is_chosen() -> None:
    torch.manual_seed(1)
    net = SegmentationNet(
        SegmentationConfig(shape=(8, 16, 8), widths=(8, 16), down_blocks=(0, 1), up_blocks=(1, 1), hidden=8)
    )
    volume = torch.rand(2, 1, 8, 16, 8)
    regions = torch.randint(0, len(REGIONS), (2, 8, 16, 8), dtype=torch.uint8)
    regions[:, :4] = 0
    ours = segmentation_loss(net, volume, regions, torch.zeros(2, 3), torch.Generator().manual_seed(0))

    logits = net.classify(net.trunk(volume, torch.zeros(2, 3))[0])
    dense = torch.stack([voxels(one) for one in logits.unbind(-1)], dim=1)
    truth = F.one_hot(regions.long(), len(REGIONS)).movedim(-1, 1)
    dice = DiceLoss(include_background=False, batch=True, smooth_nr=0, smooth_dr=0)(dense.softmax(1), truth)
    torch.testing.assert_close(ours, F.cross_entropy(dense, regions.long()) + dice)

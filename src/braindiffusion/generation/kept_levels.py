"""Generation that keeps the coarse structure of a volume: a hook."""

from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.models.generator import EditableGenerator, Hook, LevelContext


def keep_levels(generator: EditableGenerator, volume: Tensor, first: int, start_sigma: float | None = None) -> Hook:
    """Return a hook under which the levels before `first` give a volume's own coefficients, at no cost.

    With `start_sigma`, so do the others at noise levels above it: they start from the volume with so much noise, and
    keep what that does not hide (Meng et al. 2021, "SDEdit", arXiv 2108.01073).

    Args:
        generator: the model.
        volume: (1, channels, x, y, z) in [-1, 1].
        first: the first level that generates.
        start_sigma: in standard deviations of the coefficients; None starts from noise alone.
    """

    def kept(context: LevelContext, denoiser: Denoiser) -> Denoiser:
        if context.level >= first and start_sigma is None:
            return denoiser
        own = generator.coefficients(volume, context.level)

        def known(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            if context.level < first or (start_sigma is not None and float(sigma.max()) > start_sigma):
                return own.expand_as(x)
            return denoiser(x, sigma, condition)

        return known

    return kept

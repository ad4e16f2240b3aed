"""Generation that keeps the coarse structure of a volume: a hook."""

from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser
from braindiffusion.models.generator import EditableGenerator, Hook, LevelContext


def keep_levels(generator: EditableGenerator, volume: Tensor, first: int) -> Hook:
    """Return a hook under which the levels before `first` give a volume's own coefficients, at no cost.

    Args:
        generator: the model.
        volume: (1, channels, x, y, z) in [-1, 1].
        first: the first level that generates.
    """

    def kept(context: LevelContext, denoiser: Denoiser) -> Denoiser:
        if context.level >= first:
            return denoiser
        own = generator.coefficients(volume, context.level)

        def known(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            return own.expand_as(x)

        return known

    return kept

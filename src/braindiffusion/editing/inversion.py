"""Inversion: the noise from which a model would generate a real volume, level by level.

A sampler that starts from that noise with the condition of the volume gives the volume back; with another condition it
gives a counterfactual: the same brain, older for instance (Song, Meng and Ermon 2021, section 4.3).
"""

from dataclasses import replace

from torch import Tensor

from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Denoiser, over
from braindiffusion.diffusion.samplers import ddim_inversion
from braindiffusion.models.generator import EditableGenerator, LevelContext


class Inversion:
    """A hook under which each level starts from the noise of a volume, and the `BandEdit` that belongs to it.

    It needs a deterministic sampler of first order (`ddim` without eta), whose answers for x + sigma * shift are its
    answers for x, shifted: so the noise of the seed is replaced without the sampler knowing.

    Args:
        generator: the model.
        volume: (1, channels, x, y, z) in [-1, 1].
        condition: of the volume, as the denoiser takes it; None asks for nothing.
        iterations: network evaluations at each noise level, see `ddim_inversion`.
    """

    def __init__(
        self, generator: EditableGenerator, volume: Tensor, condition: Condition | None = None, *, iterations: int = 3
    ) -> None:
        self._generator, self._volume = generator, volume
        self._condition, self._iterations = condition, iterations
        self._clean: dict[int, Tensor] = {}

    def edit_band(self, level: int, band: Tensor) -> Tensor:
        """Keep the coarse band of a level, whose noise the inversion shares."""
        self._clean[level] = band
        return band

    def __call__(self, context: LevelContext, denoiser: Denoiser) -> Denoiser:
        """Return a denoiser that moves the noise of the seed to that of the volume."""
        level, own = context.level, self._generator.coarse_band(self._volume, context.level)
        if own is not None and context.coarse is not None:
            context = replace(context, coarse=own + context.coarse - self._clean[level])
        *_, step = ddim_inversion(
            self._generator.denoiser(context),
            self._generator.coefficients(self._volume, level),
            context.sigmas,
            self._condition,
            iterations=self._iterations,
        )
        noisy, top = step.x, float(context.sigmas[0])
        shift: Tensor | None = None

        def moved(x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
            nonlocal shift
            if shift is None:
                shift = (noisy - x) / top
            return denoiser(x + over(sigma, x) * shift, sigma, condition)

        return moved

"""A MONAI bundle as a `Generator`: one level, in voxels or in latents, sampled with our own samplers.

MONAI's networks take a time step, and ours a sigma. A table of DDPM has one sigma for each of its steps, and the
time of a rectified flow is sigma / (1 + sigma).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindiffusion.conditions import ConditionSchema
from braindiffusion.diffusion.condition import Condition
from braindiffusion.diffusion.denoiser import Prediction, coefficients, denoise
from braindiffusion.diffusion.samplers import SAMPLERS, Sampler, SamplerName, ddim
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.card import ModelCard
from braindiffusion.models.generator import BandEdit, GenerationStep, Hook, LevelContext, SeededNoise, apply_hooks
from braindiffusion.models.monai_bundle.weights import build, load_network
from braindiffusion.models.registry import read_card

PREDICTIONS: dict[str, Prediction] = {"epsilon": "noise", "sample": "x0", "v_prediction": "v"}
LATEST = 0.9999
"""Largest time of a flow: at 1, sigma is infinite."""


@dataclass(frozen=True)
class BundleStep(GenerationStep):
    """One sampler step.

    Attributes:
        decode: makes volumes in [-1, 1] of what is sampled, voxels or latents.
    """

    decode: Callable[[Tensor], Tensor] = lambda sample: sample

    def volume(self) -> Tensor:
        """Return the denoised estimate as a volume, (batch, channels, x, y, z) in [-1, 1]."""
        return self.decode(self.denoised)

    def noisy_volume(self) -> Tensor:
        """Return the noisy sample as a volume."""
        return self.decode(self.noisy())


class Schedule:
    """Noise levels of one of MONAI's schedulers.

    Args:
        scheduler: the object of MONAI's.
        definition: its class and arguments.
        folder: the bundle, for messages.
    """

    def __init__(self, scheduler: Any, definition: dict[str, Any], folder: Path) -> None:
        self.count = int(scheduler.num_train_timesteps)
        self.is_flow = definition["_target_"] == "RFlowScheduler"
        self.clip: tuple[float, float] | None = None
        self.folder = folder
        if self.is_flow:
            if definition.get("use_timestep_transform") or definition.get("steps_offset"):
                raise BrainDiffusionError(
                    f"{folder} has a flow whose time steps are transformed, which is not supported: take another model."
                )
            self.prediction: Prediction = "flow"
            self._discrete = bool(definition.get("use_discrete_timesteps", True))
            return
        self.prediction = PREDICTIONS[str(getattr(scheduler.prediction_type, "value", scheduler.prediction_type))]
        kept = scheduler.alphas_cumprod.double()
        self._table = ((1 - kept) / kept).sqrt()
        self._offset = int(definition.get("steps_offset") or 0)
        if definition.get("clip_sample", True):
            self.clip = (
                float(definition.get("clip_sample_min", -1.0)),
                float(definition.get("clip_sample_max", 1.0)),
            )

    def sigmas(self, steps: int) -> Tensor:
        """Return the noise levels of the sampler, falling, with a final 0: (steps + 1,).

        Raises:
            BrainDiffusionError: there are more steps than the model was trained with.
        """
        if steps > self.count:
            raise BrainDiffusionError(f"{self.folder.name} was trained with {self.count} steps: take no more.", "steps")
        if self.is_flow:
            time = (1 - torch.arange(steps, dtype=torch.float64) / steps).clamp(max=LATEST)
            found = time / (1 - time)
        else:
            last = self.count - 1 - self._offset
            found = self._table[(torch.linspace(last, 0, steps).round().long() + self._offset)]
        return torch.cat((found, found.new_zeros(1)))

    def times(self, sigma: Tensor) -> Tensor:
        """Return the time step that is the network's input at a noise level, (batch,)."""
        if self.is_flow:
            time = self.count * sigma / (1 + sigma)
            return time.round() if self._discrete else time
        steps = np.arange(self.count)
        found = np.interp(sigma.double().log().cpu().numpy(), self._table.log().numpy(), steps)
        return torch.from_numpy(found).to(sigma)


class BundleGenerator:
    """A bundle, see `Generator`.

    Args:
        network: MONAI's `DiffusionModelUNet`.
        autoencoder: MONAI's `AutoencoderKL`; None of a model in voxels.
        schedule: noise levels.
        card: made of the bundle's configuration.
    """

    def __init__(self, network: nn.Module, autoencoder: nn.Module | None, schedule: Schedule, card: ModelCard) -> None:
        self.network, self.autoencoder, self.schedule, self.card = network, autoencoder, schedule, card
        config = self._config = card.configuration
        self.conditions: ConditionSchema = card.conditions
        x, y, z = config["shape"]
        self.shape: tuple[int, int, int] = (x, y, z)
        self.spacing, self.channels = float(config["spacing"]), int(config["channels"])
        self.voxel_sizes: tuple[float, ...] = (self.spacing,)
        self._context = int(config["network"].get("cross_attention_dim") or 0)
        factor, latents = 1, self.channels
        if autoencoder is not None:
            factor = 2 ** (len(config["autoencoder"]["channels"]) - 1)
            latents = int(config["autoencoder"]["latent_channels"])
        halvings = 2 ** (len(config["network"]["channels"]) - 1)
        if any(n % (factor * halvings) for n in self.shape):
            raise BrainDiffusionError(
                f"{schedule.folder} makes volumes of {x} x {y} x {z} voxels, which its networks cannot halve so often."
            )
        self._sampled = (latents, *(n // factor for n in self.shape))
        given = int(config["network"]["in_channels"])
        self._concatenated = given == latents + self._context and bool(self._context)
        if int(config["network"]["out_channels"]) != latents or given != latents + self._context * self._concatenated:
            raise BrainDiffusionError(
                f"{schedule.folder} has a network of {given} channels for samples of {latents}: other inputs than its "
                "conditions are not supported."
            )

    @property
    def device(self) -> torch.device:
        """Device of its weights."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        for module in (self.network, self.autoencoder):
            if module is not None:
                module.to(device)

    def steps(self, steps: int | Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the sampler steps, of the only level."""
        wanted = self._config["sampling"]["steps"] if steps is None else [steps] if isinstance(steps, int) else steps
        if len(wanted) != 1:
            raise BrainDiffusionError("The model has one level: say one number of steps.", "steps")
        return (int(wanted[0]),)

    def samplers(self, sampler: SamplerName | None = None) -> tuple[SamplerName, ...]:
        """Return the sampler, of the only level."""
        return (sampler or self._config["sampling"]["sampler"][0],)

    @torch.inference_mode()
    def sample(
        self,
        seeds: Sequence[int],
        *,
        condition: Condition | None = None,
        hooks: Sequence[Hook] = (),
        edit_band: BandEdit | None = None,
        sampler: SamplerName | None = None,
        steps: int | Sequence[int] | None = None,
        eta: float = 0.0,
        levels: int | None = None,
        refine_from: int | None = 0,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[BundleStep]:
        """Generate volumes, one for each seed. There is no band to edit, one level, and no refinement."""
        (count,), (name,) = self.steps(steps), self.samplers(sampler)
        sigmas = self.schedule.sigmas(count)
        noise = SeededNoise(seeds, 0, self._sampled, self.device)
        run: Sampler = partial(ddim, eta=eta) if name == "ddim" else SAMPLERS[name]
        denoiser = apply_hooks(hooks, LevelContext(0, tuple(seeds), sigmas), self.denoiser)
        # The network sees unit noise at first, as it does in MONAI.
        start = noise() / float(coefficients(self.schedule.prediction, sigmas[:1]).c_in)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32):
            first = partial(self._scaled, start, float(sigmas[0]))
            yield BundleStep(0, 0, count, float(sigmas[0]), first(), first, self._volume)
            for step in run(denoiser, start, sigmas, condition, noise=noise):
                noisy = partial(self._scaled, step.x, step.sigma)
                yield BundleStep(0, step.step, step.of, step.sigma, step.denoised, noisy, self._volume)
        if not bool(step.denoised.isfinite().all()):
            msg = "The model generated values that are no numbers or infinite"
            raise BrainDiffusionError(f"{msg}: nothing is written; take other settings (guidance, steps) or model.")

    def denoiser(self, x: Tensor, sigma: Tensor, condition: Condition | None = None) -> Tensor:
        """Return D(x, sigma, condition). Conditions that are left out have the values of the bundle."""

        def predict(x: Tensor, log_sigma: Tensor, condition: Condition | None) -> Tensor:
            context, classes = self._context_and_classes(condition, len(x))
            given = x
            if self._concatenated and context is not None:
                spread = context[:, 0, :, None, None, None].expand(-1, -1, *x.shape[2:])
                given = torch.cat((x, spread.to(x)), dim=1)
            times = self.schedule.times((4 * log_sigma).exp())
            out: Tensor = self.network(given, times, context=context, class_labels=classes)
            return -out if self.schedule.is_flow else out  # MONAI's velocity points to the data

        estimate = denoise(predict, x, sigma, condition, prediction=self.schedule.prediction)
        return estimate if self.schedule.clip is None else estimate.clamp(*self.schedule.clip)

    def _context_and_classes(self, condition: Condition | None, batch: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the context (batch, 1, n) and the classes (batch,) of conditions."""
        context, classes = [], None
        for field in self.conditions.fields:
            width = len(field.entries) if field.kind == "vector" else 1
            value = torch.full((batch, width), torch.nan) if condition is None else condition[field.name]
            value = value.to(self.device)
            if field.kind == "category":
                classes = value[:, 0].nan_to_num(0).long()
            else:
                context.append(value.nan_to_num(float(self._config["defaults"][field.name])))
        return (torch.cat(context, dim=1)[:, None] if context else None), classes

    def _volume(self, sample: Tensor) -> Tensor:
        """Return what is sampled as volumes, (batch, channels, x, y, z) in [-1, 1]."""
        if self.autoencoder is not None:
            with torch.inference_mode():
                sample = self.autoencoder.decode_stage_2_outputs(sample / self._config["scale_factor"])  # type: ignore[operator]
        low, high = self._config["value_range"]
        volume: Tensor = 2 * (sample.float() - low) / (high - low) - 1
        return volume.clamp(-1, 1)

    @staticmethod
    def _scaled(x: Tensor, sigma: float) -> Tensor:
        scale: float = (1 + sigma**2) ** -0.5
        return x * scale


def load_bundle(folder: Path) -> BundleGenerator:
    """Read a bundle.

    Raises:
        BrainDiffusionError: MONAI is not installed, a file is missing or damaged, or the model is another.
    """
    card = read_card(folder)
    config = card.configuration
    schedule = Schedule(build(config["scheduler"], folder), config["scheduler"], folder)
    network = load_network(config["network"], folder)
    autoencoder = None if config["autoencoder"] is None else load_network(config["autoencoder"], folder)
    return BundleGenerator(network, autoencoder, schedule, card)

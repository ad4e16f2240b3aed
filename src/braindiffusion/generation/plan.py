"""A generation, loaded and checked: its samples, seeds and conditions, and what is written of each sample."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from braindiffusion.devices import choose_device, choose_precision
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.generation.background import clear_background
from braindiffusion.generation.guidance import guidance_from
from braindiffusion.generation.inputs import Conditions
from braindiffusion.generation.outputs import FRAMES_PER_LEVEL, Sample, as_volume
from braindiffusion.generation.placement import Placement
from braindiffusion.generation.reproduce import model_identity
from braindiffusion.generation.sharding import Shard, finished_samples
from braindiffusion.models.generator import GenerationStep, Generator
from braindiffusion.models.model_cache import cached_model
from braindiffusion.models.registry import has_distilled, sampled_model
from braindiffusion.outputs import Outputs
from braindiffusion.runs import Event, GenerateRequest, Run
from braindiffusion.runs.provenance import provenance
from braindiffusion.volume import Volume

PREVIEW_SECONDS = 0.25  # a preview costs tens of milliseconds: more often would slow the brain down


class GenerationPlan:
    """All that a request needs, loaded and checked before anything is generated.

    Args:
        request: what to generate.
        run: gets the volumes where the request names no folder, and previews.
        segment: returns the region map of a generated volume, (x, y, z).
        like: sidecar of the brain that is generated again.
        resume: whether samples that are there already are left as they are.

    Attributes:
        shard: which samples are this process's.
        out: folder of the volumes.
        there: numbers of the samples that need not be made again.
    """

    def __init__(
        self,
        request: GenerateRequest,
        run: Run,
        segment: Callable[[Volume], NDArray[np.uint8]],
        *,
        like: Path | None = None,
        resume: bool = True,
    ) -> None:
        request = with_fast_decided(request)
        self.request, self.run, self._segment = request, run, segment
        if request.only and not 1 <= min(request.only) <= max(request.only) <= request.num_samples:
            raise BrainDiffusionError(f"A sample number is none of 1 to {request.num_samples}.", field="only")
        self.shard = Shard.current()
        folder = sampled_model(request.model, fast=request.fast)
        self.device = self.shard.device(choose_device(request.device))
        self.dtype = choose_precision(self.device, request.precision)
        self.generator = cached_model(folder, self.device)
        card = self.generator.card
        self.conditions = Conditions(request, self.generator)
        self.placement = Placement(request, self.generator, self.conditions)
        self.guidance, guided = guidance_from(request, self.generator, asked=self.conditions.names)
        self.sampler = _sampler(request, self.generator)
        self.stripped = card.skull_stripped
        self.channels = card.channel_names(self.generator.channels)
        self._steps = steps_of(request, self.generator)
        by_level = self.generator.steps(self._steps)[: request.levels]
        samplers = self.generator.samplers(self.sampler)[: request.levels]
        if request.eta and "ddim" not in samplers:
            raise BrainDiffusionError(
                f"Eta belongs to ddim, and {samplers[0]} has none: choose the sampler ddim.", "eta"
            )
        self._details = provenance(
            run,
            request=request,  # of the demo, too, this is the request that makes the same again
            model=model_identity(folder),
            sampler=", ".join(dict.fromkeys(samplers)),
            steps=sum(by_level),
            preprocessing_hash=card.preprocessing_hash,
            steps_by_level=by_level,
            eta=request.eta,
            guidance=guided,
            background_cleared=self.stripped,
            precision=str(self.dtype).removeprefix("torch."),
            device=str(self.device),
        )
        self.out = request.out or run.results
        self.there: set[int] = set()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"Cannot write into {self.out} ({error.strerror}): choose another folder."
            raise BrainDiffusionError(msg) from error
        if not request.overwrite:
            self.there = finished_samples(
                self.out,
                self.wants,
                self.details,
                len(self.channels),
                request.trajectory_shows if request.trajectory else None,
                request.segmentation,
            )
        if not resume:
            self.there = set()
        self.outputs = Outputs.of(request, (*self.conditions.paths, *(() if like is None else (like,))))
        numbers = (number for numbers in self.shard.batches(request) for number in numbers)
        self.outputs.check(
            path for n in numbers if self.wants(n) and n not in self.there for path in self.sample(n).files
        )

    def wants(self, number: int) -> bool:
        """Whether the sample of this number is asked for."""
        request = self.request
        return 1 <= number <= request.num_samples and (request.only is None or number in request.only)

    def sample(self, number: int) -> Sample:
        """A sample that is not begun."""
        return Sample(number, self.request.seed + number - 1, self.out, self.channels)

    def settings(self, number: int) -> dict[str, Any]:
        """Return what of the sidecar of a sample is known before its anatomy is drawn."""
        return {
            **self._details,
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "sample": number,
            "seed": self.request.seed + number - 1,
            "condition": self.conditions.checked(number),
            "condition_asked": self.conditions.asked(number),
            "condition_defaults": self.conditions.defaults(number),
            "condition_files": self.conditions.files(number),
        }

    def details(self, number: int) -> dict[str, Any]:
        """Return the content of the sidecar of a sample."""
        return {
            **self.settings(number),
            "anatomy": drawn.provenance if (drawn := self.conditions.anatomy(number)) else None,
            "placement": self.placement.record(number),
            **({"trajectory_shows": self.request.trajectory_shows} if self.request.trajectory else {}),
        }

    def steps(self, numbers: Sequence[int]) -> Iterator[GenerationStep]:
        """Make a batch."""
        return self.generator.sample(
            [self.request.seed + number - 1 for number in numbers],
            condition=self.conditions.tensors(numbers, self.device),
            hooks=[self.guidance] if self.guidance else [],
            sampler=self.sampler,
            steps=self._steps,
            eta=self.request.eta,
            levels=self.request.levels,
            dtype=self.dtype,
        )

    def shown(self, step: GenerationStep, batch: Sequence[Sample]) -> Iterator[Event]:
        """Previews of a step, and its frames for the trajectories, where they are due."""
        request, now = self.request, perf_counter()
        waited = now - batch[0].previewed > PREVIEW_SECONDS or step.step == step.of
        due = request.previews and waited and step.step > 0 and not step.last
        stride = -(-step.of // FRAMES_PER_LEVEL)
        begins = step.level == 0 and step.step <= 1
        framed = request.trajectory and (begins or (step.of - step.step) % stride == 0)
        if not due and not framed:
            return
        exact = None
        if framed:
            noisy = step.step == 0 or request.trajectory_shows == "noisy"
            exact = step.noisy_volume() if noisy else step.volume()
        smooth = step.smooth() if due else None
        for index, sample in enumerate(batch):
            if exact is not None:
                sample.frames.append(as_volume(exact[index], self.generator.spacing).data)
                sample.frame_steps.append(
                    {"level": step.level, "step": step.step, "of": step.of, "sigma": round(step.sigma, 4)}
                )
            if smooth is not None:
                sample.previewed = now
                volume = as_volume(smooth[index], self.generator.spacing)
                yield sample.preview(self.placement.place(volume, sample.number), self.run.results)

    def written(self, step: GenerationStep, index: int, sample: Sample) -> Iterator[Event]:
        """Write a sample that is done."""
        volume = self.placement.place(as_volume(step.volume()[index], self.generator.spacing), sample.number)
        regions = self.conditions.region_map(sample.number)
        if self.stripped:
            volume = replace(volume, data=clear_background(volume.data, regions))
        if self.request.trajectory:
            sample.frames[-1] = volume.data
        written = self.placement.on_grid(volume)
        labels = None
        if self.request.segmentation:
            regions = self._segmented(volume, sample.number) if regions is None else regions
            labels = Volume(regions[None], volume.affine, {"kind": "labels"})
        events: list[Event] = []
        with self.outputs.writing():
            if labels is not None:
                events.append(sample.write_regions(self.placement.on_grid(labels)))
            events += sample.write(written, self.details(sample.number), volume.affine)
        yield from events

    def _segmented(self, volume: Volume, number: int) -> NDArray[np.uint8]:
        try:
            return self._segment(volume)
        except BrainDiffusionError as error:
            raise BrainDiffusionError(f"Sample {number}: {error}.", "segmentation") from error


def with_fast_decided(request: GenerateRequest) -> GenerateRequest:
    """Return the request with fast sampling on or off, where it leaves that open.

    Raises:
        BrainDiffusionError: there is no such model.
    """
    if request.fast is not None:
        return request
    fast = request.suits_distilled and has_distilled(request.model)
    return request.model_copy(update={"fast": fast})


def steps_of(request: GenerateRequest, generator: Generator) -> int | tuple[int, ...] | None:
    """Return the sampling steps of a request, as `Generator.sample` takes them.

    Raises:
        BrainDiffusionError: steps are asked for beside fast sampling.
    """
    if not request.fast:
        return request.steps
    if request.steps is not None:
        raise BrainDiffusionError("Fast sampling sets the sampling steps: choose one of the two.", "fast")
    fast = generator.card.fast  # a distilled model, which has none, takes its own steps
    return fast.steps or None if fast is not None else None


def _sampler(request: GenerateRequest, generator: Generator) -> SamplerName | None:
    """The sampler of a request.

    Raises:
        BrainDiffusionError: there is none of that name, or the model takes no other than its own.
    """
    known = get_args(SamplerName)
    if request.sampler is not None and request.sampler not in known:
        raise BrainDiffusionError(
            f"There is no sampler '{request.sampler}': choose one of {', '.join(known)}.", "sampler"
        )
    if request.sampler is not None and generator.card.distilled:
        raise BrainDiffusionError(
            f"The model {generator.card.name} was distilled for its own sampler: leave the sampler as it is.", "sampler"
        )
    return cast("SamplerName | None", request.sampler)

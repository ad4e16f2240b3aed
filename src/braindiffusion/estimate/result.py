"""Result of an estimate: memory and time by level, and a sentence."""

from dataclasses import dataclass, field

from braindiffusion.runs.durations import duration

GB = 1e9


@dataclass(frozen=True)
class LevelEstimate:
    """One level of the cascade.

    Attributes:
        level: 0 is the coarsest.
        bytes: of memory while it works, everything else that is held by then included.
        steps: optimizer steps, or sampler steps of all samples.
        seconds_per_step: None where it was not tried, since it does not fit.
        seconds: that it takes altogether.
    """

    level: int
    bytes: int
    steps: int
    seconds_per_step: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Estimate:
    """Memory and time of a job.

    Attributes:
        device: `cpu`, `cuda:0`, ...
        levels: those that will work, coarsest first.
        available: bytes of memory that the device has free.
        around: seconds before, between and after the levels: reading, writing.
        advice: what to do where it does not fit; empty where it does.
        changes: the same as fields of the request; empty where none would do.
        preset: name of a training's preset, which the device may have decided; empty for a file of one's own.
        defaults: what fields that a training's request leaves out stand for, one number or one for each level.
    """

    device: str
    levels: tuple[LevelEstimate, ...]
    available: int
    around: float = 0.0
    advice: str = ""
    changes: dict[str, int | bool | str] = field(default_factory=dict)
    preset: str = ""
    defaults: dict[str, float | list[float]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Peak memory: on a CPU of the whole process, on another device of its allocations."""
        return max(level.bytes for level in self.levels)

    @property
    def fits(self) -> bool:
        """Whether the free memory is enough."""
        return self.bytes <= self.available

    @property
    def seconds(self) -> float | None:
        """Time of the whole job; None where it does not fit."""
        parts = [level.seconds for level in self.levels]
        return None if None in parts else self.around + sum(part for part in parts if part is not None)

    @property
    def verdict(self) -> str:
        """One sentence."""
        needs, has = self.bytes / GB, self.available / GB
        what = f"Preset {self.preset}" if self.preset else "It"
        if not self.fits:
            return f"{what} needs {needs:.1f} GB, and {self.device} has {has:.1f} GB free: {self.advice}."
        time = duration(self.seconds or 0)
        return f"{what} needs {needs:.1f} GB of the {has:.1f} GB that {self.device} has free, and takes about {time}."

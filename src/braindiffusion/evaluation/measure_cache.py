"""Measures of brains on disk: the same people are compared with many models, and measuring one takes seconds."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import braindiffusion
from braindiffusion.evaluation.brain_measures import BrainMeasures
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer
from braindiffusion.evaluation.sources import Brain
from braindiffusion.files import write_whole
from braindiffusion.regions.table import Labels
from braindiffusion.runs.versions import versions

MOST = 5000
"""Brains whose measures are kept, of about 20 kB each (60 kB with un-CNN); those that were measured first go first."""
_ARRAYS = ("histogram", "spectrum")
_FEATURES = "features."


@dataclass
class CachedMeasurer:
    """A `BrainMeasurer` that measures a brain once.

    Measures are found by the content of the brain (name, voxels, label maps) and of what measures it: weights, this
    package's code, and versions of what it depends on. Nothing is found again after a change of either.

    Attributes:
        measurer: measures what is not there yet.
        folder: of the measures; is made where it is missing.
        weights: SHA-256 of every file that the measurer takes numbers from.
        found: brains that had been measured before.
    """

    measurer: BrainMeasurer
    folder: Path
    weights: Iterable[str] = ()
    found: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._by = [*self.weights, *self.measurer.encoders, _code(), json.dumps(versions())]
        self._by.append(str(self.measurer.model is not None))
        known = sorted(self.folder.glob("*.npz"), key=lambda file: file.stat().st_mtime)
        for old in known[: -MOST or None]:
            old.unlink(missing_ok=True)

    def measure(self, brain: Brain, requested: Labels | None = None) -> BrainMeasures:
        """Measure a brain, or read its measures: see `BrainMeasurer.measure`."""
        path = self.folder / f"{self._key(brain, requested)}.npz"
        if (known := _read(path)) is not None:
            self.found += 1
            return known
        measures = self.measurer.measure(brain, requested)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, _packed(measures))
        except OSError:
            pass  # a full disk: the brain is measured again next time
        return measures

    def _key(self, brain: Brain, requested: Labels | None) -> str:
        told = hashlib.sha256(json.dumps([brain.name, brain.spacing, brain.voxels.shape, self._by]).encode())
        for array in (brain.voxels, brain.labels, requested):
            told.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return told.hexdigest()


def _code() -> str:
    """Return the SHA-256 of this package's code."""
    told = hashlib.sha256()
    for file in sorted(Path(braindiffusion.__file__).parent.rglob("*.py")):
        told.update(file.read_bytes())
    return told.hexdigest()


def _packed(measures: BrainMeasures) -> bytes:
    arrays = {name: getattr(measures, name) for name in _ARRAYS}
    arrays |= {_FEATURES + name: values for name, values in measures.features.items()}
    told = {name: value for name, value in asdict(measures).items() if name not in (*_ARRAYS, "features")}
    file = io.BytesIO()
    np.savez_compressed(file, told=np.array(json.dumps(told)), **arrays)
    return file.getvalue()


def _read(path: Path) -> BrainMeasures | None:
    """Return the measures in a file; None where there is none, or a damaged one."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            told = json.loads(str(stored["told"]))
            told["dice"] = {int(index): value for index, value in told["dice"].items()}
            features = {name.removeprefix(_FEATURES): stored[name] for name in stored if name.startswith(_FEATURES)}
            return BrainMeasures(**told, **{name: stored[name] for name in _ARRAYS}, features=features)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None

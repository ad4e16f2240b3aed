"""Measures of brains on disk: the same people are compared with many models, and measuring one takes seconds."""

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

import braindiffusion
from braindiffusion.evaluation.brain_measures import BrainMeasures
from braindiffusion.evaluation.encoders.encoder import BrainMeasurer
from braindiffusion.evaluation.sources import Brain
from braindiffusion.files import write_whole
from braindiffusion.regions.table import Labels
from braindiffusion.runs.versions import package_version, versions

MOST = 5000
"""Brains whose measures are kept, of about 20 kB each (60 kB with un-CNN); those that were measured first go first."""
_LIBRARIES = ("numpy", "scipy", "scikit-image", "uncnn")
"""What measures are computed by, besides what `versions` tells."""
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
        used = versions() | {name: package_version(name) for name in _LIBRARIES}
        self._by = [*self.weights, *self.measurer.encoders, _code(), json.dumps(used)]
        self._by.append(str(self.measurer.model is not None))
        for old in sorted(self.folder.glob("*.npz"), key=_written)[:-MOST]:
            with suppress(OSError):
                old.unlink(missing_ok=True)

    def measure(self, brain: Brain, requested: Labels | None = None) -> BrainMeasures:
        """Measure a brain, or read its measures: see `BrainMeasurer.measure`."""
        path = self.folder / f"{self._key(brain, requested)}.npz"
        if (known := _read(path)) is not None:
            self.found += 1
            return known
        measures = self.measurer.measure(brain, requested)
        with suppress(OSError):  # a full disk: the brain is measured again next time
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, _packed(measures))
        return measures

    def _key(self, brain: Brain, requested: Labels | None) -> str:
        digest = hashlib.sha256(json.dumps([brain.name, brain.spacing, brain.voxels.shape, self._by]).encode())
        for array in (brain.voxels, brain.labels, requested):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _written(file: Path) -> float:
    """Return when a file was written; those that another evaluation is writing, or has deleted, count as new."""
    try:
        return file.stat().st_mtime
    except OSError:
        return math.inf


def _code() -> str:
    """Return the SHA-256 of this package's code."""
    digest = hashlib.sha256()
    for file in sorted(Path(braindiffusion.__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _packed(measures: BrainMeasures) -> bytes:
    arrays = {name: getattr(measures, name) for name in _ARRAYS}
    arrays |= {_FEATURES + name: values for name, values in measures.features.items()}
    content = {name: value for name, value in asdict(measures).items() if name not in (*_ARRAYS, "features")}
    file = io.BytesIO()
    np.savez_compressed(file, content=np.array(json.dumps(content)), **arrays)
    return file.getvalue()


def _read(path: Path) -> BrainMeasures | None:
    """Return the measures in a file; None where there is none, or a damaged one."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            content = json.loads(str(stored["content"]))
            content["dice"] = {int(index): value for index, value in content["dice"].items()}
            features = {name.removeprefix(_FEATURES): stored[name] for name in stored if name.startswith(_FEATURES)}
            return BrainMeasures(**content, **{name: stored[name] for name in _ARRAYS}, features=features)
    except (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None

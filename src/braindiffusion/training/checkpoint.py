"""What training keeps, in a run's `checkpoints`:

```
best/  last/              model folders: averaged weights, ready to generate from
resume/level-0.safetensors ...  weights, averages, optimizer moments: an exact resume
```

Each file is written beside its place and renamed: whole or absent.
"""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from braindiffusion.errors import BrainDiffusionError


def save_state(folder: Path, level: int, tensors: dict[str, Tensor]) -> Path:
    """Write a level's state."""
    folder.mkdir(parents=True, exist_ok=True)
    path = state_path(folder, level)
    part = path.with_suffix(".part")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    return path


def load_state(folder: Path, level: int) -> dict[str, Tensor] | None:
    """A level's state, None where there is none.

    Raises:
        BrainDiffusionError: the file is damaged.
    """
    path = state_path(folder, level)
    try:
        return load_file(path)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        msg = f"The checkpoint {path} is damaged ({error}): delete it, and this level is trained anew."
        raise BrainDiffusionError(msg) from error


def state_path(folder: Path, level: int) -> Path:
    """Where a level's state is."""
    return folder / f"level-{level}.safetensors"

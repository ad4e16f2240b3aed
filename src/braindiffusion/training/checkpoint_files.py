"""What training keeps, in a run's `checkpoints`:

```
best/  last/                         model folders: averaged weights, ready to generate from
resume/level-0.safetensors ...       weights, averages, optimizer moments: an exact resume
averages/level-0/0001500.safetensors ...  both averages now and then, in half precision: for another width afterwards
```

Each file is written beside its place and renamed: whole or absent.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from braindiffusion.errors import BrainDiffusionError

FORMAT, FORMAT_NAME = 2, "format"
"""Goes up when a state holds other tensors: what an older version wrote cannot be gone on from."""


def save_state(folder: Path, level: int, tensors: Mapping[str, Tensor]) -> Path:
    """Write a level's state."""
    return _save(state_path(folder, level), {**tensors, FORMAT_NAME: torch.tensor(FORMAT)})


def load_state(folder: Path, level: int) -> dict[str, Tensor] | None:
    """A level's state, None where there is none.

    Raises:
        BrainDiffusionError: the file is damaged, or of another version.
    """
    path = state_path(folder, level)
    if not path.is_file():
        return None
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        msg = f"The checkpoint {path} is damaged ({error}): delete it, and this level is trained anew."
        raise BrainDiffusionError(msg) from error
    written = int(state.pop(FORMAT_NAME, torch.tensor(1)))
    if written != FORMAT:
        msg = f"The checkpoint {path} is of another version ({written}, not {FORMAT}): begin a new training."
        raise BrainDiffusionError(msg)
    return state


def state_path(folder: Path, level: int) -> Path:
    """Where a level's state is."""
    return folder / f"level-{level}.safetensors"


def save_averages(folder: Path, level: int, step: int, tensors: Mapping[str, Tensor]) -> Path:
    """Write down a level's averages at a step."""
    path = folder / f"level-{level}" / f"{step:07d}.safetensors"
    return _save(path, {name: tensor.half() for name, tensor in tensors.items()})


def load_averages(folder: Path, level: int) -> dict[int, dict[str, Tensor]]:
    """All that was written down of a level's averages, by step.

    Raises:
        BrainDiffusionError: a file is damaged.
    """
    found = {}
    for path in sorted((folder / f"level-{level}").glob("*.safetensors")):
        try:
            found[int(path.stem)] = {name: tensor.float() for name, tensor in load_file(path).items()}
        except (SafetensorError, OSError) as error:
            raise BrainDiffusionError(f"{path} is damaged ({error}): delete it, the others may do.") from error
    return found


def _save(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    return path

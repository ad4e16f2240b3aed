"""What the user chose once in napari's preferences (File > Preferences > BrainDiffusion), for all docks.

napari draws and keeps these settings from the manifest's `configurations`; here they become values with a type. Docks
ask anew whenever they need one, so a change holds from the next job on.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from braindiffusion.runs import default_runs_dir
from braindiffusion.runs.folder import RUNS_VARIABLE

PLUGIN = "napari-braindiffusion"

Precision = Literal["auto", "float32", "bfloat16"]
Convention = Literal["neurological", "radiological"]
Asked = TypeVar("Asked", bound=BaseModel)


@dataclass(frozen=True)
class Settings:
    """The user's preferences.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: Of the engine's arithmetic.
        runs_folder: Where run folders are made and looked for.
        model: Name of a packaged model, or path of one: what the Generate dock begins with; None is its first.
        convention: Whether left is at the left of the screen, or at the right as radiologists have it.
        tour_seen: Whether the guided tour was shown.
    """

    device: str
    precision: Precision
    runs_folder: Path
    model: str | None
    convention: Convention
    tour_seen: bool

    def applied_to(self, request: Asked) -> Asked:
        """The request with device and precision of the preferences wherever it leaves them to `auto`."""
        chosen = {"device": self.device, "precision": self.precision}
        left = {name: value for name, value in chosen.items() if getattr(request, name, None) == "auto"}
        return request.model_copy(update=left)


def settings() -> Settings:
    """The preferences as they are now. What is left empty takes its default.

    The environment's `BRAINDIFFUSION_RUNS` goes before the run folder of the preferences.
    """
    engine, models = _section("engine"), _section("models")
    folder = str(getattr(engine, "runs_folder", "")).strip()
    return Settings(
        device=getattr(engine, "device", "auto"),
        precision=getattr(engine, "precision", "auto"),
        runs_folder=Path(folder).expanduser().absolute()
        if folder and not os.environ.get(RUNS_VARIABLE)
        else default_runs_dir(),
        tour_seen=bool(getattr(_section("tour"), "seen", True)),
        convention=getattr(_section("look"), "convention", "neurological"),
        model=str(getattr(models, "model", "")).strip() or None,
    )


def remember(section: str, name: str, value: Any) -> None:
    """Change a setting, and keep it for the next session."""
    found = _section(section)
    if found is not None:
        setattr(found, name, value)


def _section(name: str) -> Any:
    """One group of our settings; None where napari does not know the plugin (it was disabled meanwhile)."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings(PLUGIN), name)
    except KeyError:
        return None

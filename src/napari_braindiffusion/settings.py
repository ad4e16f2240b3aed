"""Preferences of the user (File > Preferences > BrainDiffusion), and the paths that were entered last.

napari draws and keeps the preferences from the manifest's `configurations`; here they get types. They are read anew for
each job, so a change holds from the next job on.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from npe2 import PluginManager
from pydantic import BaseModel
from qtpy.QtCore import QSettings

from braindiffusion.runs import default_runs_dir
from braindiffusion.runs.folder import RUNS_VARIABLE

PLUGIN = "napari-braindiffusion"
MAX_RECENT = 8
"""Number of recent paths that are kept for a field."""

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


def recent_paths(name: str) -> list[str]:
    """Return the paths that were entered last in a field, newest first; they may be gone."""
    found = _store().value(f"recent/{name}", [])
    return [found] if isinstance(found, str) else list(found or [])


def add_recent_path(name: str, path: Path) -> None:
    """Put a path first among the recent paths of a field."""
    others = [one for one in recent_paths(name) if one != str(path)]
    _store().setValue(f"recent/{name}", [str(path), *others][:MAX_RECENT])


def _store() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "BrainDiffusion", PLUGIN)


def _section(name: str) -> Any:
    """One group of our settings; None where napari does not know the plugin (it was disabled meanwhile)."""
    from napari.settings import get_plugin_settings

    try:
        with _known_manifests():
            return getattr(get_plugin_settings(PLUGIN), name)
    except KeyError:
        return None


@contextmanager
def _known_manifests() -> Iterator[None]:
    """Keep npe2 from reading every manifest again.

    napari asks for that before it first hands out settings of plugins, which takes 0.2 s; a viewer has read them.
    """
    manager = PluginManager.instance()
    if PLUGIN not in manager:
        yield
        return
    manager.discover = lambda *_, **__: 0  # type: ignore[method-assign]
    try:
        yield
    finally:
        del manager.discover  # the method of the class again

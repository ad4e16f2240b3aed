"""Preferences: what is empty has a default, what is chosen reaches the jobs and stays."""

from pathlib import Path

import napari.settings
import pytest
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import Qt

import napari_braindiffusion
from braindiffusion.runs import GenerateRequest, PrepareRequest, default_runs_dir
from napari_braindiffusion.settings import MAX_RECENT, recent_paths, remember, settings
from napari_braindiffusion.widgets.forms.field_widgets import PathEdit


def test_defaults():
    found = settings()
    assert (found.device, found.precision, found.model) == ("auto", "auto", None)
    assert found.runs_folder == default_runs_dir()


def test_what_is_chosen_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("BRAINDIFFUSION_RUNS")
    remember("engine", "runs_folder", str(tmp_path / "mine"))
    remember("engine", "device", "cpu")
    remember("models", "model", "my-model")
    napari.settings._clear_plugin_settings_cache()  # the next session
    found = settings()
    assert (found.device, found.runs_folder, found.model) == ("cpu", tmp_path / "mine", "my-model")


def test_the_environment_goes_first(tmp_path: Path):
    remember("engine", "runs_folder", str(tmp_path / "mine"))
    assert settings().runs_folder == default_runs_dir() == tmp_path / "runs"


def test_only_what_a_request_leaves_open_is_decided():
    remember("engine", "device", "cuda")
    remember("engine", "precision", "float32")
    asked = settings().applied_to(GenerateRequest(device="cpu"))
    assert (asked.device, asked.precision) == ("cpu", "float32")
    prepare = PrepareRequest(data_dir=Path("in"), out=Path("out.zarr"))
    assert settings().applied_to(prepare) == prepare


def test_a_plugin_that_napari_does_not_know_has_defaults(monkeypatch: pytest.MonkeyPatch):
    def unknown(plugin: str) -> None:
        raise KeyError(plugin)

    monkeypatch.setattr(napari.settings, "get_plugin_settings", unknown)
    remember("tour", "seen", value=True)
    assert settings().device == "auto"


def test_manifests_are_not_read_again_for_them(monkeypatch: pytest.MonkeyPatch):
    """A viewer has read them all, and reading them again holds up the first dock."""
    PluginManager.instance().discover()

    def read(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(PluginManifest, "from_file", read)
    remember("engine", "device", "cpu")
    assert settings().device == "cpu"
    monkeypatch.undo()
    assert PluginManager.instance().discover() == 0


def test_the_preferences_dialog_shows_them(make_napari_viewer_proxy, qtbot):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    make_napari_viewer_proxy()
    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    assert "BrainDiffusion" in [dialog._list.item(row).text() for row in range(dialog._list.count())]


def test_runs_are_looked_for_where_the_preferences_say():
    sources = {path: path.read_text() for path in Path(napari_braindiffusion.__file__).parent.rglob("*.py")}
    others = ("list_runs()", "default_runs_dir()")
    assert [path.name for path, text in sources.items() if any(word in text for word in others)] == ["settings.py"]


def test_recent_paths_are_offered_below_the_empty_field(qtbot, tmp_path):
    folders = [tmp_path / f"folder {number}" for number in range(MAX_RECENT + 2)]
    edit = PathEdit(name="data_dir")
    qtbot.addWidget(edit.native)
    for folder in (*folders, folders[-2]):
        folder.mkdir(exist_ok=True)
        edit.value = folder
    edit.value = tmp_path / "not there"
    edit.value = None
    expected = [str(folders[-2]), str(folders[-1]), *map(str, reversed(folders[2:-2]))]
    assert recent_paths("data_dir") == expected
    later = PathEdit(name="data_dir")
    qtbot.addWidget(later.native)
    later.native.show()
    qtbot.mouseClick(later.line_edit.native, Qt.MouseButton.LeftButton)
    assert later._recent.stringList() == expected
    assert recent_paths("another field") == []

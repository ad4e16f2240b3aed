"""What napari sees of the plugin, and what it costs to look."""

import subprocess
import sys
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
from npe2 import PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

NAME = "napari-braindiffusion"


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(files("napari_braindiffusion") / "napari.yaml")


def test_installed_under_its_name():
    (found,) = [
        result.manifest for result in PluginManifest.discover() if result.manifest and result.manifest.name == NAME
    ]
    assert found.display_name == "BrainDiffusion"


def test_every_command_can_be_imported(manifest):
    manifest.validate_imports()
    # validate_imports stops at the first section of the manifest.
    for command in manifest.contributions.commands:
        assert callable(import_python_name(command.python_name)), command.id


def test_every_contribution_has_its_command(manifest):
    contributions = manifest.contributions
    known = {command.id for command in contributions.commands}
    used = {
        item.command
        for section in (contributions.readers, contributions.writers, contributions.sample_data, contributions.widgets)
        for item in section
    } | {item.command for items in contributions.menus.values() for item in items if hasattr(item, "command")}
    assert used <= known
    # What has no place of its own is called from the palette.
    alone = [command for command in contributions.commands if command.id not in used]
    assert all(command.python_name.startswith("napari_braindiffusion.commands:") for command in alone)


@pytest.mark.parametrize("path", ["a.nii", "a.nii.gz", "a.mgz", "a.mgh", "a.img", "a.hdr", "A.NII.GZ"])
def test_volumes_are_claimed(manifest, path):
    manager = PluginManager()
    manager.register(manifest)
    assert [reader.plugin_name for reader in manager.iter_compatible_readers(path)] == [NAME]


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_nii_gz_is_offered_first(manifest, kind):
    manager = PluginManager()
    manager.register(manifest)
    (writer,) = manager.iter_compatible_writers([kind])
    assert writer.filename_extensions == [".nii.gz", ".nii"]


def test_generate_is_in_the_new_layer_menu(manifest):
    (item,) = manifest.contributions.menus["napari/file/new_layer"]
    title = {command.id: command.title for command in manifest.contributions.commands}[item.command]
    assert title == "Generate a brain"


def test_the_icon_is_a_picture(manifest):
    package, _, resource = manifest.icon.partition(":")
    assert ET.fromstring((files(package) / resource).read_text()).tag.endswith("svg")


@pytest.mark.parametrize(
    "module",
    [
        "napari_braindiffusion",
        "napari_braindiffusion.io.files",
        "napari_braindiffusion.io.sample_data",
        "napari_braindiffusion.commands",
        "napari_braindiffusion.docks.cohort",
        "napari_braindiffusion.docks.train",
        "napari_braindiffusion.docks.generate",
        "napari_braindiffusion.docks.orthoviews",
        "napari_braindiffusion.docks.evaluate",
        "napari_braindiffusion.io.figures",
    ],
)
def test_the_plugin_never_imports_torch_and_no_plots_before_there_are_any(module):
    code = (
        f"import sys, {module}; heavy = {{'torch', 'torchio', 'monai', 'plotly', 'pyqtgraph'}} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr

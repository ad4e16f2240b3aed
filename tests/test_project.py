"""What a user gets: the wheel, its metadata, the pinned set, and the commands of the README."""

import ast
import email
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import braindiffusion

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = {"braindiffusion", "napari_braindiffusion"}
USED_BY_OTHERS = {"python-calamine"}  # pandas reads IXI.xls with it


def pins() -> dict[str, Version]:
    """Name and version of every line of the constraints."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements(lines: list[str | dict[str, str]]) -> list[Requirement]:
    """The requirements of a list, without the groups that it includes."""
    return [Requirement(line) for line in lines if isinstance(line, str)]


def imported_packages(source: Path) -> set[str]:
    """Top-level names that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_carries_all_that_the_packages_read(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "src"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    if tracked == [""]:
        pytest.skip("needs a git checkout to know which files belong to the packages")
    wanted = {name.removeprefix("src/") for name in tracked if name and (ROOT / name).is_file()}
    assert wanted <= set(wheel.namelist())
    assert {"napari_braindiffusion/napari.yaml", "braindiffusion/py.typed"} <= wanted


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Name"] == "napari-braindiffusion"
    assert metadata["Version"] == braindiffusion.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert "Framework :: napari" in metadata.get_all("Classifier", [])
    entry_points = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert "napari-braindiffusion = napari_braindiffusion:napari.yaml" in entry_points
    assert "braindiffusion = braindiffusion.cli:main" in entry_points


def test_a_base_install_brings_no_qt_binding(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needed = map(Requirement, email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist", []))
    base = [requirement for requirement in needed if "extra" not in str(requirement.marker or "")]
    assert not {canonicalize_name(requirement.name) for requirement in base} & {"pyqt5", "pyqt6", "pyside2", "pyside6"}
    assert all(not requirement.extras for requirement in base)


def test_the_pinned_set_is_within_the_ranges_and_complete() -> None:
    pinned = pins()
    groups = [line for name in ("test", "lint", "docs") for line in PROJECT["dependency-groups"][name]]
    for requirement in requirements(PROJECT["project"]["dependencies"] + groups):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned"
        assert version in requirement.specifier, f"{requirement} does not hold for the pinned {version}"
    assert pinned["torch"] == Version("2.13.0")


def test_every_import_is_declared_and_every_dependency_imported() -> None:
    imported = {name for source in (ROOT / "src").rglob("*.py") for name in imported_packages(source)}
    third_party = imported - OURS - set(sys.stdlib_module_names)
    distributions = packages_distributions()
    used = {canonicalize_name(distributions.get(name, [name])[0]) for name in third_party}
    declared = {canonicalize_name(requirement.name) for requirement in requirements(PROJECT["project"]["dependencies"])}
    assert used - declared == set(), "imported, but not a dependency"
    assert declared - used - USED_BY_OTHERS == set(), "a dependency, but never imported"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_a_page_links_only_to_what_is_there(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_the_make_targets_of_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([a-z-]+)`", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
        assert named
        assert named <= targets


def test_the_changelog_tells_of_this_version() -> None:
    # The release takes its notes from there.
    assert f"\n## [{braindiffusion.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

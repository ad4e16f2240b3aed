"""Tests of the packaging: wheel, metadata, pinned versions, recipe, workflows, and the scripts in src."""

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
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import braindiffusion

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = {"braindiffusion", "napari_braindiffusion"}
USED_BY_OTHERS: set[str] = set()


def pins() -> dict[str, Version]:
    """Return name and version of every line of the constraints."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def requirements(lines: list[str | dict[str, str]]) -> list[Requirement]:
    """Return the requirements of a list, without the groups that it includes."""
    return [Requirement(line) for line in lines if isinstance(line, str)]


def imported_packages(source: Path) -> set[str]:
    """Return the top-level names that a module imports."""
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


def test_the_wheel_contains_all_package_files(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "src/*/*"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    if tracked == [""]:
        pytest.skip("needs a git checkout to know which files belong to the packages")
    wanted = {name.removeprefix("src/") for name in tracked if name and (ROOT / name).is_file()}
    assert wanted <= set(wheel.namelist())
    typed = {"braindiffusion/py.typed", "napari_braindiffusion/py.typed"}
    assert {"napari_braindiffusion/napari.yaml", *typed} <= wanted


def test_the_metadata_of_the_wheel(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Name"] == "napari-braindiffusion"
    assert metadata["Version"] == braindiffusion.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause AND CC-BY-SA-3.0 AND LicenseRef-SBIA"
    assert "Framework :: napari" in metadata.get_all("Classifier", [])
    entry_points = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert "napari-braindiffusion = napari_braindiffusion:napari.yaml" in entry_points
    assert "braindiffusion = braindiffusion.cli:main" in entry_points


def test_the_wheel_holds_the_licence_of_code_weights_and_example_data(wheel: zipfile.ZipFile) -> None:
    files = set(wheel.namelist())
    weights = [name for name in files if name.endswith("model.safetensors")]
    assert len(weights) >= 2
    beside = {name.replace("model.safetensors", "LICENSE.md") for name in weights}
    data = {f"braindiffusion/example_data/{name}" for name in ("LICENSE.md", "labels/LICENSE-SBIA.md")}
    assert beside | data <= files
    (metadata,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    licences = metadata.replace("METADATA", "licenses/")
    assert {f"{licences}LICENSE", *(f"{licences}src/{name}" for name in beside | data)} <= files
    for name in beside:
        text = wheel.read(name).decode()
        assert "CC BY-SA 3.0" in text
        assert "brain-development.org" in text


def test_the_links_of_the_readme_on_the_package_index_are_absolute_and_lead_to_files(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    page = email.message_from_bytes(wheel.read(name)).get_payload()
    repository = PROJECT["project"]["urls"]["Homepage"]
    pictures = repository.replace("github.com", "raw.githubusercontent.com") + "/main/"
    links = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", page)
    assert len(links) > 20
    for mark, link in links:
        start = pictures if mark else f"{repository}/blob/main/"
        if not link.startswith(start):
            assert link.startswith("https://"), link
            assert not link.startswith(repository), link
            continue
        path = ROOT / link.removeprefix(start).partition("#")[0]
        assert path.exists(), link


def test_a_base_install_has_no_qt_binding(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needed = map(Requirement, email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist", []))
    base = [requirement for requirement in needed if "extra" not in str(requirement.marker or "")]
    assert not {canonicalize_name(requirement.name) for requirement in base} & {"pyqt5", "pyqt6", "pyside2", "pyside6"}
    assert all(not requirement.extras for requirement in base)


def test_the_pinned_versions_are_complete_and_within_the_ranges() -> None:
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
    extras = {
        canonicalize_name(requirement.name)
        for extra in PROJECT["project"]["optional-dependencies"].values()
        for requirement in requirements(extra)
    }
    assert used - declared - extras == set(), "imported, but not a dependency"
    assert declared - used - USED_BY_OTHERS == set(), "a dependency, but never imported"


def test_the_conda_recipe_agrees_with_the_project() -> None:
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == braindiffusion.__version__
    assert recipe["about"]["license"] == PROJECT["project"]["license"]
    licences = {
        path.relative_to(ROOT).as_posix() for line in PROJECT["project"]["license-files"] for path in ROOT.glob(line)
    }
    assert set(recipe["about"]["license_file"]) == licences
    named = dict(line.split(maxsplit=1) for line in recipe["requirements"]["run"])
    assert named.pop("python") == PROJECT["project"]["requires-python"]
    on_conda = {"torch": "pytorch", "lightning-fabric": "pytorch-lightning"}
    for requirement in requirements(PROJECT["project"]["dependencies"]):
        name = canonicalize_name(requirement.name)
        version = named.pop(on_conda.get(name, name))
        assert SpecifierSet(version) == requirement.specifier, name
    assert named == {}


def test_every_supported_python_is_tested() -> None:
    workflow = (ROOT / ".github" / "workflows" / "systems.yml").read_text(encoding="utf-8")
    matrix = yaml.safe_load(workflow)["jobs"]["suite"]["strategy"]["matrix"]
    tested = {*matrix["python"], *(entry["python"] for entry in matrix["include"])}
    prefix = "Programming Language :: Python :: 3."
    declared = {name.rpartition(" ")[2] for name in PROJECT["project"]["classifiers"] if name.startswith(prefix)}
    assert tested == declared == {"3.11", "3.12", "3.13", "3.14"}


def test_a_release_is_published_only_after_the_tests() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/tests.yml"
    assert "test" in jobs["publish"]["needs"]
    assert jobs["notes"]["needs"] == "publish"


def test_the_workflows_have_no_more_permissions_than_they_need() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for job in workflow["jobs"].values():
            assert len(job.get("permissions", {})) <= 2, path.name


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_the_links_of_a_page_lead_to_files(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_the_make_targets_of_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([a-z-]+)`", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
        assert named
        assert named <= targets


def test_the_changelog_has_this_version() -> None:
    # The release notes come from there.
    assert f"\n## [{braindiffusion.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("script", "words", "refused"),
    [
        ("train", "--data_dir IXI-T1 --batch_size 0 --epochs 100", "--batch-size"),
        ("generate", "--model_path checkpoints/best --num_samples 0", "--num-samples"),
        ("visualize", "--volume_path generated/missing.nii.gz --no_open", "missing.nii.gz"),
    ],
)
def test_the_scripts_in_src_take_options_with_underscores(script: str, words: str, refused: str) -> None:
    done = subprocess.run(
        [sys.executable, f"src/{script}.py", *words.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert refused in done.stderr.replace("_", "-") + done.stderr
    assert "No such option" not in done.stderr
    assert "Traceback" not in done.stderr

"""Tests of the documentation: every command, model and package is described, and links, options and messages exist."""

import importlib.util
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import typer
import yaml
from typer.main import get_command

from braindiffusion.cli.app import app
from braindiffusion.models.registry import list_helper_models, list_models, list_segmentation_models
from braindiffusion.training.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "scripts" / "docs_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_is_described(pages: ModuleType) -> None:
    page = pages.command_page()
    for name in get_command(app).commands:
        assert f"## `braindiffusion {name}`" in page
        assert f"(#braindiffusion-{name})" in page


def test_every_packaged_model_has_its_card(pages: ModuleType) -> None:
    page = pages.model_page()
    for model in [*list_models(), *list_helper_models(), *list_segmentation_models()]:
        assert f"## {model.name}\n\n{model.card.description}" in page
        assert model.card.weights_licence in page


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_to_files(page: str, pages: ModuleType) -> None:
    path = ROOT / "docs" / page
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [(path.parent / link).resolve() for link in links if "://" not in link and not link.startswith("mailto:")]
    made = {(ROOT / "docs" / name).resolve() for name in pages.GENERATED}
    assert [link for link in local if not link.exists() and link not in made] == []


def commands() -> list[tuple[str, str]]:
    """Return each command that a page shows, with the page."""
    shown = []
    for page in ("README.md", "CONTRIBUTING.md", *(f"docs/{name}" for name in PAGES)):
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:bash)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            typed = block.replace("\\\n", " ")
            shown += [(line, page) for line in re.findall(r"(?:^|-m |/)braindiffusion +(.*)", typed, re.MULTILINE)]
        inline = re.findall(r"`braindiffusion ([a-z-]+(?: [^`]*)?)`", text)
        shown += [(line.partition("...")[0], page) for line in inline]
    return shown


@pytest.mark.parametrize(("line", "page"), commands())
def test_the_commands_of_the_pages_have_these_options(line: str, page: str) -> None:
    words = shlex.split(re.split(r" [|>#] ", line)[0])
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    command.make_parser(typer.Context(command)).parse_args(list(words))
    told = dict(pairwise(words))
    assert told.get("--preset", "auto") in ("auto", "mine.json", *PRESETS)


@pytest.mark.parametrize("small", ["", "1"])
def test_the_trainings_of_the_makefile_can_run_in_this_order(small: str) -> None:
    """Every option exists, and what a command reads has been written by one before it."""
    called = ["make", "-n", "-o", "setup", "train-models", "train-gpu", "DATA=data", f"SMALL={small}"]
    listed = subprocess.run(called, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.replace("\\\n", " ").splitlines() if line.startswith(".venv/bin/")]
    written: list[str] = []
    for line in lines:
        name, *words = shlex.split(line.partition("||")[0])
        if name.endswith("braindiffusion"):
            command = get_command(app).commands[words[0]]
            command.make_parser(typer.Context(command)).parse_args(words[1:])
        else:
            assert (ROOT / words[0]).is_file(), line
        out = words[words.index("--out") + 1] if "--out" in words else ""
        for word in (word.rpartition("=")[2] for word in words if word != out):
            if word.startswith("build/"):
                assert any(word == one or word.startswith(f"{one}/") for one in written), f"{word} in: {line}"
        written.append(out)
    assert len(lines) > 20


def test_the_menu_entries_of_the_pages_are_in_the_manifest() -> None:
    manifest = (ROOT / "src" / "napari_braindiffusion" / "napari.yaml").read_text(encoding="utf-8")
    contributions = yaml.safe_load(manifest)["contributions"]
    entries = {command["title"] for command in contributions["commands"]}
    entries |= {menu["label"] for menu in contributions["submenus"]}
    entries |= {widget["display_name"] for widget in contributions["widgets"]}
    of_napari = {"BrainDiffusion", "Measure", "Visualize", "Save Selected Layers"}
    named = []
    for page in ("README.md", *(f"docs/{name}" for name in PAGES)):
        text = (ROOT / page).read_text(encoding="utf-8")
        named += [
            (path.split(" > ")[-1], page) for path in re.findall(r"\*\*((?:File|Layers|Plugins) > [^*]+)\*\*", text)
        ]
    assert len(named) > 10
    assert [pair for pair in named if pair[0] not in entries | of_napari] == []


def test_the_messages_of_the_troubleshooting_are_in_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    for message in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert message.split("'...'")[-1] in source, message


def test_every_package_is_described_in_the_architecture_with_a_link() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    linked = {link.rstrip("/") for link in re.findall(r"\]\(\.\./src/([^)]+)\)", text)}
    packages = [path.parent.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").glob("*/*/__init__.py")]
    modules = [path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").glob("*/[a-z]*.py")]
    assert [name for name in [*packages, *modules] if name not in linked] == []


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("a sampler", 3),
        ("a condition", 3),
        ("a metric", 2),
        ("a dock", 4),
        ("a kind of model", 2),
        ("an editing operation", 4),
    ],
)
def test_a_common_addition_needs_few_files(kind: str, most: int) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {kind} \| (.*) \|$", text, re.MULTILINE)
    files = re.findall(r"(?<!Dock`)(?<!Generator`)(?<!Hook`)\]\(([^)]+)\)", row)  # classes to follow do not change
    assert 1 <= len(files) <= most


def test_every_dock_has_a_page_and_every_guide_is_in_the_index() -> None:
    manifest = yaml.safe_load((ROOT / "src/napari_braindiffusion/napari.yaml").read_text(encoding="utf-8"))
    docks = {widget["display_name"] for widget in manifest["contributions"]["widgets"]}
    titles = {page: (ROOT / "docs" / page).read_text(encoding="utf-8").partition("\n")[0][2:] for page in PAGES}
    pages = [page for page in PAGES if page.startswith("docks/")]
    assert {titles[page] for page in pages} == docks
    guides = [page for page in PAGES if page.startswith("howto/")]
    for place, wanted in (("docs/index.md", pages + guides), ("docs/napari.md", pages), ("README.md", pages)):
        text = (ROOT / place).read_text(encoding="utf-8")
        assert [page for page in wanted if f"{page})" not in text] == [], place


def test_the_screenshots_of_every_dock_are_there_in_both_themes() -> None:
    docks = [Path(page).stem for page in PAGES if page.startswith("docks/")]
    assert len(docks) >= 5
    for name in (*docks, "tour"):
        for theme in ("light", "dark"):
            assert (ROOT / "docs" / "pictures" / f"{name}-{theme}.png").is_file(), f"{name}-{theme}.png"


def test_the_site_shows_every_picture_of_a_page_once(pages: ModuleType) -> None:
    for name in PAGES:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        built = pages.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=name)), None, None)
        shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", built)
        assert len(shown) == len(set(shown)), name


def test_conditions_of_several_models_are_listed_once(pages: ModuleType) -> None:
    tables = re.findall(r"### Conditions\n\n(\|[^#]*)", pages.model_page())
    assert tables
    assert len(tables) == len(set(tables))


def test_the_notebook_pages_have_their_pictures(pages: ModuleType) -> None:
    for path in pages.NOTEBOOKS:
        page, pictures = pages._converted(path)
        shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
        assert pictures
        assert set(pictures) <= {link.replace("\\", "/") for link in shown}

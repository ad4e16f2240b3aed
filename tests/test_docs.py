"""The documentation tells of what is there: every command, model and room, and messages that the code can say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from braindiffusion.cli.app import app
from braindiffusion.pretrained import list_models, list_readers

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


def test_every_command_is_told(pages: ModuleType) -> None:
    page = pages.command_page()
    for name in get_command(app).commands:
        assert f"## `braindiffusion {name}`" in page
        assert f"(#braindiffusion-{name})" in page


def test_every_packaged_model_has_its_card(pages: ModuleType) -> None:
    page = pages.model_page()
    for model in [*list_models(), *list_readers()]:
        assert f"## {model.name}\n\n{model.card['description']}" in page
        assert model.card["weights_licence"] in page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_only_to_what_is_there(page: str, pages: ModuleType) -> None:
    path = ROOT / "docs" / page
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [(path.parent / link).resolve() for link in links if "://" not in link and not link.startswith("mailto:")]
    made = {(ROOT / "docs" / name).resolve() for name in pages.MADE}
    assert [link for link in local if not link.exists() and link not in made] == []


def test_the_messages_of_the_troubleshooting_are_in_the_code() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    for message in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert message.split("'...'")[-1] in source, message


def test_every_room_is_named_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in (ROOT / "src" / "braindiffusion").glob("*/__init__.py")]
    assert [name for name in rooms if f"{name}/" not in text] == []

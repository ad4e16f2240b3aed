"""Pages of the documentation that are made from the code when the site is built, so that they cannot grow old.

mkdocs calls the `on_` functions (see `hooks` in mkdocs.yml). The command line comes from the commands themselves, model
cards from the packaged `model.json`, the Python reference from the public names, and a link out of docs/ (to a file of
the project) becomes a link to the project's page of that file.
"""

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
TOLD_ABOVE = (
    "name",
    "kind",
    "summary",
    "description",
    "split",
    "history",
    "history_columns",
    "configuration",
    "recipes",
)
LEVEL_BY_LEVEL = ("parameters", "steps", "validation_loss")
OUTWARD = re.compile(r"\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    for name, page in MADE.items():
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Put in what the code says, and turn links to files of the project outwards."""
    if page.file.src_uri == "evaluation.md":
        markdown = markdown.replace("<!-- what each figure says, from the code -->", _meanings())
    if page.file.src_uri.startswith("docks/"):
        title, rest = markdown.split("\n", 1)
        markdown = f"{title}\n\n{_screenshots(Path(page.file.src_uri).stem)}\n{rest}"
    here = (ROOT / "docs" / page.file.src_uri).parent
    return OUTWARD.sub(lambda link: _outward(here, link[1], link[2] or "", page.file.src_uri), markdown)


def _outward(here: Path, target: str, anchor: str, page: str) -> str:
    path = (here / target).resolve()
    if path.is_relative_to(ROOT / "docs"):
        return f"]({target}{anchor})"
    if not path.exists():
        raise FileNotFoundError(f"docs/{page} links to {target}, which is not there")
    kind = "tree" if path.is_dir() else "blob"
    return f"]({repository()}/{kind}/main/{path.relative_to(ROOT).as_posix()}{anchor})"


def repository() -> str:
    """Where the project lives."""
    address: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
    return address


def command_page() -> str:
    """Every command with its arguments and options."""
    from braindiffusion.cli.app import app

    root = get_command(app)
    page = get_docs_for_click(obj=root, ctx=typer.Context(root, info_name="braindiffusion"), name="braindiffusion")
    first = "# Command line\n\nMade from the commands themselves; `braindiffusion COMMAND --help` tells the same.\n"
    page = first + page.partition("\n")[2]
    # Typer cuts the lists of commands short: link instead, with the whole first line.
    headings = re.findall(r"^#+ `braindiffusion (.+)`\n\n(.*)", page, flags=re.MULTILINE)
    for name, told in headings:
        link = f"* [{name}](#braindiffusion-{name.replace(' ', '-')}): {told}"
        page = re.sub(rf"^\* `{name.split()[-1]}`: {re.escape(told[:12])}.*", lambda _, x=link: x, page, flags=re.M)
    return page


def model_page() -> str:
    """The card of every packaged model."""
    from braindiffusion.models.registry import list_models, list_segmentation_models

    parts = [
        "# Model cards",
        "Made from `model.json` beside the weights of each packaged model; `braindiffusion models NAME --json` prints "
        "it whole. Read [what they must not be used for](limits.md) too.",
    ]
    for model in [*list_models(), *list_segmentation_models()]:
        parts += [f"## {model.name}", *_card(model.card)]
    return "\n\n".join(parts) + "\n"


def _screenshots(dock: str) -> str:
    """The window with this dock, in the theme of the reader, where `make screenshots` has taken it."""
    there = [theme for theme in ("dark", "light") if (ROOT / "docs" / "pictures" / f"{dock}-{theme}.png").exists()]
    return "\n".join(
        f"![The {dock.capitalize()} dock in napari](../pictures/{dock}-{theme}.png#only-{theme})" for theme in there
    )


def _meanings() -> str:
    """What the figures of an evaluation say, as the Evaluate dock tells it."""
    from braindiffusion.runs.reports.metric_descriptions import FEATURES, GROUPS

    rows = [("KID, Fréchet distance, MMD", FEATURES), *((group, told) for group, told in GROUPS.items())]
    return _table(("figure", "what it says"), rows)


def _card(card: dict[str, Any]) -> list[str]:
    split = {name: len(subjects) for name, subjects in card.get("split", {}).items()}
    elsewhere = (*TOLD_ABOVE, *(LEVEL_BY_LEVEL if "levels" in card["configuration"] else ()))
    shown = {name: value for name, value in card.items() if name not in elsewhere}
    tables = {name: shown.pop(name) for name in list(shown) if isinstance(shown[name], dict) and _is_deep(shown[name])}
    rows = [("subjects", ", ".join(f"{count} for {name}" for name, count in split.items()))] if split else []
    rows += [(name.replace("_", " "), _text(value)) for name, value in shown.items()]
    parts = [str(card.get("description") or card.get("summary", "")), _table(("what", "told"), rows)]
    parts += _levels(card) + _recipes(card) + _conditions(card)
    for name, groups in tables.items():
        parts += [f"### {name.replace('_', ' ').capitalize()}", *_figures(groups)]
    return parts


def _is_deep(value: dict[str, Any]) -> bool:
    return any(isinstance(inner, dict) for inner in value.values())


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return (
        f"`{text}`" if re.fullmatch(r"[0-9a-f]{40,}", text) or text.startswith(("python ", "braindiffusion ")) else text
    )


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _levels(card: dict[str, Any]) -> list[str]:
    """What each level of a cascade is."""
    levels = card["configuration"].get("levels")
    if not levels:
        return []
    told = [card.get(name, []) for name in LEVEL_BY_LEVEL]
    rows = []
    for number, level in enumerate(levels):
        own = [_text(values[number]) if number < len(values) else "" for values in told]
        patch = f"patches of {level['patch']} coefficients" if level["patch"] else "whole volume"
        rows.append((str(number), *own, patch, str(level["steps"]), f"{level['temperature']:g}"))
    titles = ("level", "parameters", "training steps", "validation loss", "trained on", "sampler steps", "temperature")
    return ["### Levels, coarsest first", _table(titles, rows)]


def _recipes(card: dict[str, Any]) -> list[str]:
    """How each level of a cascade learnt: what is said of any, a column a level."""
    recipes = card.get("recipes", [])
    names = [
        name for name in dict.fromkeys(key for one in recipes for key in one) if any(one.get(name) for one in recipes)
    ]
    rows = [(name.replace("_", " "), *(_text(one.get(name, "")) for one in recipes)) for name in names]
    titles = ("", *(f"level {number}" for number in range(len(recipes))))
    return ["### How each level learnt", _table(titles, rows)] if rows else []


def _conditions(card: dict[str, Any]) -> list[str]:
    """What the model can be asked for, and between which values."""
    from braindiffusion.conditions import ConditionSchema

    schema = ConditionSchema.model_validate(card["configuration"].get("condition") or {})
    if not schema:
        return []
    rows = [(f"`{asked}`", answer) for asked, answer in schema.choices().items()]
    return ["### What it can be asked for", _table(("`--condition`", "values"), rows)]


def _figures(groups: dict[str, Any]) -> list[str]:
    """Measured figures: a column a group, and a second table of what is told region by region."""
    columns = {name: group for name, group in groups.items() if isinstance(group, dict)}
    parts = []
    flat = list(dict.fromkeys(key for group in columns.values() for key in group if not isinstance(group[key], dict)))
    rows = [(key.replace("_", " "), *(_text(g.get(key, "")) for g in columns.values())) for key in flat]
    if rows:
        parts.append(_table(("", *columns), rows))
    for key in dict.fromkeys(key for group in columns.values() for key in group if isinstance(group[key], dict)):
        inner = {name: group[key] for name, group in columns.items() if key in group}
        names = list(dict.fromkeys(name for values in inner.values() for name in values))
        rows = [(name, *(_text(values.get(name, "")) for values in inner.values())) for name in names]
        parts.append(_table((key.replace("_", " "), *inner), rows))
    alone = {name: value for name, value in groups.items() if name not in columns}
    return parts + ([_table(("what", "told"), [(n, _text(v)) for n, v in alone.items()])] if alone else [])


MADE = {"cli.md": command_page, "models.md": model_page}
"""Pages that lie nowhere: each is what its function says."""

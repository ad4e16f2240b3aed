"""Documentation pages that are generated when the site is built: command line, model cards, notebooks, changelog.

mkdocs calls the `on_` functions (see `hooks` in mkdocs.yml). The command line comes from the commands themselves, model
cards from the packaged `model.json`, notebook pages from the notebooks with their outputs. A link out of docs/ to a
file of the project becomes a link to that file in the repository; pictures of examples/ are copied to the site.
"""

import os
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from braindiffusion.models.card import ModelCard

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in (".png", ".gif"))
SHOWN_ELSEWHERE = (
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
SPLIT = {"train": "for training", "validation": "held out", "seen_by_coarser_levels": "of these seen by coarser levels"}
LONG = 300
"""Letters of a field of a model card from which on it is a section of its own, not a cell of a table."""
OUTWARD = re.compile(r"\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add generated pages, pictures of notebooks, and pictures of examples/."""
    from mkdocs.structure.files import File

    for name, page in GENERATED.items():
        files.append(File.generated(config, name, content=page()))
    for path in NOTEBOOKS:
        for name, content in _converted(path)[1].items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for path in PICTURES:
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Insert generated parts, and redirect links to files outside of docs/."""
    name = page.file.src_uri
    if name == "evaluation.md":
        markdown = markdown.replace("<!-- metric descriptions, from the code -->", _metric_descriptions())
    return OUTWARD.sub(lambda link: _outward(name, link[1], link[2] or ""), markdown)


def _outward(page: str, target: str, anchor: str) -> str:
    path = (ROOT / "docs" / page).parent.joinpath(target).resolve()
    if path.is_relative_to(ROOT / "docs"):
        return f"]({target}{anchor})"
    if not path.exists():
        raise FileNotFoundError(f"docs/{page} links to {target}, which does not exist")
    if path in PICTURES:
        return f"]({os.path.relpath(f'examples/{path.name}', Path(page).parent)})"
    kind = "tree" if path.is_dir() else "blob"
    return f"]({repository()}/{kind}/main/{path.relative_to(ROOT).as_posix()}{anchor})"


def repository() -> str:
    """Return the address of the repository."""
    address: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
    return address


def command_page() -> str:
    """Return a page of all commands with their arguments and options."""
    from braindiffusion.cli.app import app

    root = get_command(app)
    page = get_docs_for_click(obj=root, ctx=typer.Context(root, info_name="braindiffusion"), name="braindiffusion")
    first = "# Command line\n\nGenerated from the commands: the same text as `braindiffusion COMMAND --help`.\n"
    page = first + page.partition("\n")[2]
    # Typer cuts the lists of commands short: link instead, with the whole first line.
    headings = re.findall(r"^#+ `braindiffusion (.+)`\n\n(.*)", page, flags=re.MULTILINE)
    for name, summary in headings:
        link = f"* [{name}](#braindiffusion-{name.replace(' ', '-')}): {summary}"
        page = re.sub(rf"^\* `{name.split()[-1]}`: {re.escape(summary[:12])}.*", lambda _, x=link: x, page, flags=re.M)
    return page


def model_page() -> str:
    """Return a page with the card of every packaged model."""
    from braindiffusion.models.registry import list_helper_models, list_models, list_segmentation_models

    parts = [
        "# Model cards",
        "Generated from the `model.json` of each packaged model; `braindiffusion models NAME --json` prints all of it. "
        "Read the [limits](limits.md) too.",
    ]
    shown: dict[str, str] = {}
    for model in [*list_models(), *list_helper_models(), *list_segmentation_models()]:
        parts += [f"## {model.name}", *_card(model.card.to_json()), *_conditions(model.card, shown)]
    return "\n\n".join(parts) + "\n"


def changelog_page() -> str:
    """Return the changelog of the project."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def notebook_page(path: Path) -> str:
    """Return a notebook as Markdown, with its outputs."""
    return _converted(path)[0]


def _converted(path: Path) -> tuple[str, dict[str, bytes]]:
    from nbconvert import MarkdownExporter

    page, resources = MarkdownExporter().from_filename(path, {"output_files_dir": path.stem})
    return page, resources["outputs"]


def _metric_descriptions() -> str:
    """Return a table of the metric descriptions, which the Evaluate dock shows as tooltips."""
    from braindiffusion.runs.reports.metric_descriptions import DESCRIPTIONS, FEATURES

    return _table(("metric", "meaning"), [("KID, Fréchet distance, MMD", FEATURES), *DESCRIPTIONS.items()])


def _card(card: dict[str, Any]) -> list[str]:
    split = {name: len(subjects) for name, subjects in card.get("split", {}).items()}
    elsewhere = (*SHOWN_ELSEWHERE, *(LEVEL_BY_LEVEL if "levels" in card["configuration"] else ()))
    shown = {name: value for name, value in card.items() if name not in elsewhere and value not in (None, "", {})}
    apart = [name for name, value in shown.items() if _is_deep(value) or len(_text(value)) > LONG]
    sections = {name: shown.pop(name) for name in apart}
    rows = [("subjects", ", ".join(f"{count} {SPLIT[name]}" for name, count in split.items()))] if split else []
    rows += [(name.replace("_", " "), _text(value)) for name, value in shown.items()]
    parts = [str(card.get("description") or card.get("summary", "")), _table(("field", "value"), rows)]
    parts += _levels(card) + _recipes(card)
    for name, value in sections.items():
        parts += [f"### {name.replace('_', ' ').capitalize()}"]
        parts += _figures(value) if isinstance(value, dict) else [_text(value)]
    return parts


def _is_deep(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values())


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
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
    """Return a table of the levels of a cascade."""
    levels = card["configuration"].get("levels")
    if not levels:
        return []
    values = [card.get(name, []) for name in LEVEL_BY_LEVEL]
    rows = []
    for number, level in enumerate(levels):
        own = [_text(column[number]) if number < len(column) else "" for column in values]
        patch = f"patches of {level['patch']} coefficients" if level["patch"] else "whole volume"
        refinement = "" if level["refinement"] is None else f"from noise level {level['refinement']:.2g}"
        rows.append((str(number), *own, patch, str(level["steps"]), f"{level['temperature']:g}", refinement))
    titles = ("level", "parameters", "training steps", "validation loss", "trained on", "sampler steps", "temperature",
              "refinement")  # fmt: skip
    return ["### Levels, coarsest first", _table(titles, rows)]


def _recipes(card: dict[str, Any]) -> list[str]:
    """Return a table of training settings, a column for each level of a cascade."""
    recipes = card.get("recipes", [])
    names = [
        name for name in dict.fromkeys(key for one in recipes for key in one) if any(one.get(name) for one in recipes)
    ]
    rows = [(name.replace("_", " "), *(_text(one.get(name, "")) for one in recipes)) for name in names]
    titles = ("", *(f"level {number}" for number in range(len(recipes))))
    return ["### Training settings", _table(titles, rows)] if rows else []


def _conditions(card: "ModelCard", shown: dict[str, str]) -> list[str]:
    """Return a table of the conditions of a model and their ranges, or the name of the model that has the same ones.

    Args:
        card: The card.
        shown: Tables of the models before, each with the name of its model; the new one is added.
    """
    rows = [(f"`{name}`", values) for name, values in card.conditions.choices().items()]
    if not rows:
        return []
    table = _table(("`--condition`", "values"), rows)
    other = shown.setdefault(table, card.name)
    return ["### Conditions", table if other == card.name else f"Those of [{other}](#{other})."]


def _figures(groups: dict[str, Any]) -> list[str]:
    """Return tables of measurements: a column for each group, and a second table by region."""
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
    return parts + ([_table(("field", "value"), [(n, _text(v)) for n, v in alone.items()])] if alone else [])


GENERATED = {
    "cli.md": command_page,
    "models.md": model_page,
    "changelog.md": changelog_page,
    **{f"notebooks/{path.stem}.md": partial(notebook_page, path) for path in NOTEBOOKS},
}
"""Pages without a file in docs/, each with the function that returns it."""

"""The card of a model: its training data, conditions, figures and limits."""

from collections.abc import Mapping
from pathlib import Path

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from braindiffusion.conditions import VOLUMES, MapField, ScalarField, VectorField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.card import ModelCard
from braindiffusion.untrusted import markup
from napari_braindiffusion.widgets.dialogs import open_path
from napari_braindiffusion.widgets.forms.layout import collapsed, wrapping_label


class ModelCardView(QWidget):
    """A line that says what the model is, and the rest behind a click."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder: Path | None = None
        self.summary = wrapping_label("")
        self.details = wrapping_label("", rich=True)
        self.details.setOpenExternalLinks(True)
        self.folder_button = QPushButton("Open its folder")
        self.folder_button.clicked.connect(self._open_folder)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.details)
        column.addWidget(self.folder_button)
        about_it = "Training data, conditions, figures and limits."
        self.more = collapsed("About this model", inner, about_it)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(self.more)
        self.hide()

    def show_card(self, card: ModelCard | None, folder: Path | None = None) -> None:
        """Show the card of a model in a folder; None hides what was shown."""
        self.setVisible(card is not None)
        if card is None:
            return
        self._folder = folder
        self.summary.setText(str(card.summary or one_line(card)))
        lines = (f"<p><b>{markup(what)}.</b> {markup(text)}</p>" for what, text in about(card))
        self.details.setText("".join(lines))
        self.folder_button.setVisible(folder is not None)
        self.folder_button.setToolTip(f"{folder}")

    def _open_folder(self) -> None:
        if self._folder is not None:
            open_path(self._folder)


def one_line(card: ModelCard) -> str:
    """Return a summary where the card has none: what the model makes, and how many subjects it was trained on."""
    made, learnt = _made(card), _learnt(card)
    return ", ".join(part for part in (made, learnt) if part) or "A model without a description."


def about(card: ModelCard) -> list[tuple[str, str]]:
    """Return the entries of a card as (title, text), without those that the card lacks."""
    rows = {
        "What it makes": card.description or _made(card),
        "Trained on": card.data or _learnt(card),
        "Conditions": _asked(card),
        "How it was trained": ". ".join(one for one in (str(card.training), _steps(card)) if one),
        "Figures": _figures(card),
        "Use": card.intended_use,
        "Limits": card.stated_limits,
        "Licence": card.weights_licence or card.data_licence,
    }
    return [(what, _sentence(said)) for what, said in rows.items() if said]


def _sentence(value: object) -> str:
    text = "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _made(card: ModelCard) -> str:
    done = card.preprocessing
    if "spacing" not in done:
        return ""
    skull = "skull-stripped " if done.get("skull") == "strip" else ""
    box = " x ".join(map(str, done.get("shape", ())))
    return f"{skull}{done.get('modality', '')} brains at {done['spacing']:g} mm ({box} voxels)".strip()


def _learnt(card: ModelCard) -> str:
    train, kept = len(card.split.train or ()), len(card.split.validation)
    alone = " from the finest level alone" if card.split.seen_by_coarser_levels else ""
    return f"{train} subjects" + (f"; {kept} held out{alone}" if kept else "") if train else ""


def _asked(card: ModelCard) -> str:
    try:
        schema = card.conditions
    except BrainDiffusionError:
        return ""
    words = []
    for field in schema.fields:
        if isinstance(field, ScalarField):
            words.append(f"{field.name} ({field.seen.span(field.unit)})")
        elif isinstance(field, VectorField):
            words.append(f"{field.name} of {len(field.entries)} {'regions' if field.name == VOLUMES else 'numbers'}")
        elif isinstance(field, MapField):
            words.append(f"a map of {field.labels - 1} {field.name}")
        else:
            words.append(f"{field.name} ({' or '.join(field.values)})")
    return ", ".join(words) or "nothing in particular"


def _steps(card: ModelCard) -> str:
    parameters, steps = card.parameter_count, card.level_steps
    size = f"{parameters / 1e6:.0f} million parameters" if parameters else ""
    return ", ".join(one for one in (size, f"{sum(steps):,} steps over {len(steps)} levels" if steps else "") if one)


def _figures(card: ModelCard) -> str:
    """Validation losses, and whatever else the card holds as named numbers."""
    losses = [loss for loss in card.validation_loss if loss is not None]
    words = [f"validation loss by level {', '.join(f'{loss:.3g}' for loss in losses)}"] if losses else []
    measured = card.figures
    if isinstance(measured, Mapping):
        numbers = {name: value for name, value in measured.items() if isinstance(value, int | float | str)}
        words += [
            f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
            for name, value in numbers.items()
        ]
    return "; ".join(words)

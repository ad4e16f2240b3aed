"""Layers, folders and runs, out into NIfTI files with sidecars or into a BIDS dataset."""

import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels, Layer
from napari.qt import get_stylesheet
from napari.utils.notifications import show_error, show_info, show_warning
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from braindiffusion.cohort.find import Found
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.export import brains_in, write_bids
from braindiffusion.export.brains import named
from braindiffusion.files import PrivateFolder
from braindiffusion.volume import Volume
from napari_braindiffusion.engine.threads import in_background
from napari_braindiffusion.layers.files import free_path, provenance_of, save_brain
from napari_braindiffusion.layers.geometry import layer_to_volume
from napari_braindiffusion.widgets.forms.export_form import ExportChoice, ExportDialog

_open: set[ExportDialog] = set()
"""Nobody else holds a dialog that opens while no window is active."""
_MODALITY = re.compile(r"[-_ ](?P<modality>T1|T2|PD|MRA|FLAIR)w?$", re.IGNORECASE)


@dataclass(frozen=True)
class Outgoing:
    """A layer as it was when the user asked for it."""

    name: str
    volume: Volume
    sidecar: dict[str, Any]
    labels: "Outgoing | None" = None


def ask_and_export(viewer: Viewer, *, bids: bool) -> ExportDialog:
    """Open the dialog, and export what is chosen in it."""
    layers = exportable(layer for layer in viewer.layers if layer in viewer.layers.selection)
    dialog = ExportDialog(len(layers), bids=bids, parent=QApplication.activeWindow())
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def apply_theme() -> None:
        dialog.setStyleSheet(get_stylesheet(viewer.theme))  # without a parent it inherits none

    apply_theme()
    viewer.events.theme.connect(apply_theme)
    dialog.finished.connect(lambda _: viewer.events.theme.disconnect(apply_theme))
    dialog.chosen.connect(lambda choice: export(viewer, choice, layers))
    dialog.finished.connect(lambda _: _open.discard(dialog))
    _open.add(dialog)
    dialog.open()
    return dialog


def exportable(layers: Iterable[Layer]) -> list[Layer]:
    """Those that can become volumes."""
    return [layer for layer in layers if isinstance(layer, Image | Labels) and layer.ndim in (3, 4) and not _rgb(layer)]


def export(viewer: Viewer, choice: ExportChoice, layers: Sequence[Layer]) -> None:
    """Write the chosen brains in a worker thread and notify the user at the end.

    Args:
        viewer: Where the layers are.
        choice: What to write, and where to.
        layers: Those that are meant where the choice names no folder.
    """
    outgoing: list[Outgoing] = []
    try:
        if choice.source is None:
            outgoing = (
                _as_pairs(viewer, layers) if choice.format == "bids" else [_outgoing(viewer, one) for one in layers]
            )
    except BrainDiffusionError as error:
        show_error(str(error))
        return
    written: list[Path] = []

    def say() -> None:
        if written:
            volumes = "1 volume is" if len(written) == 1 else f"{len(written)} volumes are"
            show_info(f"{volumes} in {choice.out}.")

    total = max(len(outgoing), 1)
    in_background(_work, choice, outgoing, what="Exporting", total=total, done=written.append, after=say)


def _work(choice: ExportChoice, outgoing: Sequence[Outgoing]) -> Generator[Path | BrainDiffusionError]:
    if choice.source is not None:
        problems: list[str] = []
        brains = brains_in([choice.source], tell=problems.append)
        yield from map(BrainDiffusionError, problems)
        if choice.format == "bids":
            yield from write_bids(brains, choice.out, name=choice.name)
        else:
            from braindiffusion.volume import load_volume

            for brain in brains:
                yield save_brain(load_volume(brain.path), free_path(choice.out, brain.name), brain.sidecar)
    elif choice.format != "bids":
        for one in outgoing:
            yield save_brain(one.volume, free_path(choice.out, one.name), one.sidecar)
    else:
        with PrivateFolder() as folder:
            found = [_found(number, one, Path(folder)) for number, one in enumerate(outgoing)]
            yield from write_bids(named(found), choice.out, name=choice.name)


def _found(number: int, one: Outgoing, folder: Path) -> tuple[Found, dict[str, Any]]:
    """A layer as a file, for as long as it takes to put it into a dataset."""
    path = save_brain(one.volume, folder / f"{number}.nii", {})
    labels = save_brain(one.labels.volume, folder / f"{number}_labels.nii", {}) if one.labels else None
    match = _MODALITY.search(one.name)
    subject = one.name[: match.start()] if match else one.name
    return Found(subject, path, match["modality"].upper() if match else None, labels=labels), one.sidecar


def _as_pairs(viewer: Viewer, layers: Sequence[Layer]) -> list[Outgoing]:
    """Images, each with the first Labels layer on its grid that no other image has."""
    free = [layer for layer in layers if isinstance(layer, Labels)]
    pairs = []
    for image in (layer for layer in layers if not isinstance(layer, Labels)):
        if image.ndim == 4:
            show_warning(f"'{image.name}' is left out: a dataset holds single brains, and it has steps.")
            continue
        labels = next((one for one in free if _same_grid(one, image)), None)
        if labels is not None:
            free.remove(labels)
        pairs.append(replace(_outgoing(viewer, image), labels=_outgoing(viewer, labels) if labels else None))
    if free:
        names = ", ".join(f"'{layer.name}'" for layer in free)
        show_warning(f"{names} left out: select the image on the same grid too, whose regions these are.")
    return pairs


def _outgoing(viewer: Viewer, layer: Layer) -> Outgoing:
    return Outgoing(layer.name, layer_to_volume(layer, viewer.layers), provenance_of(layer.metadata))


def _same_grid(one: Layer, other: Layer) -> bool:
    return (
        one.data.shape == other.data.shape
        and tuple(one.scale) == tuple(other.scale)
        and tuple(one.translate) == tuple(other.translate)
    )


def _rgb(layer: Layer) -> bool:
    return bool(getattr(layer, "rgb", False))

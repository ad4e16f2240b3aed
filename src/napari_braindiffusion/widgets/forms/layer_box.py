"""A box to choose a layer of the viewer. It knows the layer itself: a layer that is renamed stays chosen."""

from collections.abc import Iterable

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QWidget

from napari_braindiffusion.widgets.forms.layout import make_narrow


class LayerBox(QComboBox):
    """Layers by their names. `currentIndexChanged` comes when another layer is chosen, not when it is renamed.

    Args:
        none: Text of a first item that means no layer; empty for no such item.
        parent: Qt parent.
    """

    def __init__(self, none: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._none = none
        make_narrow(self)
        self.offer(())

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        chosen: Layer | None = self.currentData()
        return chosen

    def offer(self, layers: Iterable[Layer], *, default: int = 0) -> None:
        """Offer these layers by their present names. What was chosen stays chosen while it is among them.

        Args:
            layers: In their order in the box.
            default: Number of the item to choose where what was chosen is gone.
        """
        before = self.layer
        with QSignalBlocker(self):
            self.clear()
            if self._none:
                self.addItem(self._none, None)
            for layer in layers:
                self.addItem(layer.name, layer)
            self.choose(before, default=default)
        if self.layer != before:
            self.currentIndexChanged.emit(self.currentIndex())

    def choose(self, layer: Layer | None, *, default: int = 0) -> None:
        """Choose a layer; the item of this number where it is not offered."""
        rows = (row for row in range(self.count()) if layer is not None and self.itemData(row) == layer)
        self.setCurrentIndex(next(rows, min(default, self.count() - 1)))

    def choose_name(self, name: object) -> None:
        """Choose the layer of this name; the first item where none is offered."""
        layers = (self.itemData(row) for row in range(self.count()))
        self.choose(next((layer for layer in layers if layer is not None and layer.name == name), None))

"""Volume <-> layer: where every question of geometry between the engine and napari is answered.

A layer gets canonical RAS+ data, a positive diagonal `scale` (the voxel sizes), a `translate`, `units` and
`axis_labels`. napari slices oblique affines wrongly in 2D, so they never reach a layer: an oblique volume is shown
upright about its own centre, and `metadata["display_to_world"]` holds the rotation that leads back to the true world.
On the way out the layer's *state* counts (an edited scale, translation, rotation or affine is written), followed by
that matrix.

Axes are (x, y, z) with x to the right, y to the front and z up, or (step, x, y, z) and the like in 4D: the leading
axis is NIfTI's last.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.volume import Volume, to_ras

if TYPE_CHECKING:
    from napari.layers import Layer

LayerData = tuple[Any, dict[str, Any], str]
Kind = Literal["image", "labels"]

AXIS_LABELS = ("x", "y", "z")
DISPLAY_TO_WORLD = "display_to_world"
"""Key of a layer's metadata: (4, 4), displayed to world millimetres; the identity unless the volume is oblique."""

SHOWN_AWAY = "shown_away"
"""Key of a layer's metadata: (3,), by how much a layer without `DISPLAY_TO_WORLD` is shown away from its place."""

# Voxels looked at for the contrast limits: enough for a percentile, cheap for any volume.
_SAMPLE = 200_000


def volume_to_layer_data(volume: Volume, name: str, kind: Kind = "image", **kwargs: Any) -> LayerData:
    """A volume as napari takes it. Several channels make a 4D layer, channel (or time) first.

    Args:
        volume: What to show.
        name: The layer's name.
        kind: `image` or `labels`.
        **kwargs: Further attributes of the layer; they win over the ones made here. `metadata` is added to, not
            replaced.

    Raises:
        BrainDiffusionError: Labels are asked for, and the values are not whole numbers.
    """
    seconds = volume.metadata.get("time_step")
    leading = ("time", "second", float(seconds)) if seconds else ("channel", "pixel", 1.0)
    return _layer_data(volume, name, kind, leading if volume.channels > 1 else None, kwargs)


def trajectory_to_layer_data(volume: Volume, name: str = "Trajectory", **kwargs: Any) -> LayerData:
    """Return a denoising trajectory, (steps, x, y, z), as a 4D image layer whose first axis is the sampling step.

    It is 4D with one step, too: more may follow, and a layer that gains an axis later loses its millimetres.
    """
    data, attributes, layer_type = _layer_data(volume, name, "image", ("step", "pixel", 1.0), kwargs)
    if "contrast_limits" not in kwargs:
        # The last step is the brain: what is outside its range is noise, and may saturate.
        attributes["contrast_limits"] = _contrast_limits(volume.data[-1])
    return data, attributes, layer_type


def place_of(layer: "Layer") -> dict[str, Any]:
    """Return what a layer's metadata say of its place, for another one that is drawn on it."""
    return {key: layer.metadata[key] for key in (DISPLAY_TO_WORLD, SHOWN_AWAY) if key in layer.metadata}


def region_features(names: Mapping[int, str]) -> dict[str, list[Any]]:
    """Label names as the `features` of a Labels layer: napari shows the name of the region under the cursor."""
    return {"index": list(names), "region": list(names.values())}


def layer_to_volume(layer: "Layer", among: Iterable["Layer"] = ()) -> Volume:
    """A layer as it is now, edits of its scale and place included, as a volume in RAS+ and millimetres.

    Labels are copied: painting on them does not change the volume.

    Args:
        layer: Image or Labels, 3D or 4D. Without units it is taken to be in millimetres.
        among: The viewer's layers. A layer that was born in napari (labels painted on an oblique scan, say) knows
            nothing of the world: it goes back to it the way the layer that it was drawn on does.

    Raises:
        BrainDiffusionError: The layer is no Image or Labels layer, is not 3D or 4D, is in colour, has units that are
            no lengths, or was drawn on several volumes that are turned differently.
    """
    data, attributes, layer_type = layer.as_layer_data_tuple()
    return layer_data_to_volume(data, attributes, layer_type, among)


def layer_data_to_volume(
    data: Any, attributes: Mapping[str, Any], layer_type: str, among: Iterable["Layer"] = ()
) -> Volume:
    """As `layer_to_volume`, from the tuple that napari hands to a writer."""
    name = str(attributes.get("name") or layer_type)
    if layer_type not in ("image", "labels"):
        msg = f"Layer '{name}' is a {layer_type} layer: only Image and Labels layers can become volumes."
        raise BrainDiffusionError(msg)
    if attributes.get("rgb"):
        msg = f"Layer '{name}' is in colour: split it into channels (right-click, Split RGB) and take one."
        raise BrainDiffusionError(msg)
    finest = data[0] if attributes.get("multiscale") else data
    voxels = np.array(finest) if layer_type == "labels" else np.asarray(finest)  # labels may be painted on meanwhile
    if voxels.ndim not in (3, 4):
        msg = (
            f"Layer '{name}' has {voxels.ndim} dimensions: a volume has three, or four with steps, time or channels "
            "first."
        )
        raise BrainDiffusionError(msg)
    matrix, seconds = _to_millimetres(name, voxels.ndim, attributes)
    order = _spatial_order(attributes.get("axis_labels"))
    channels = (voxels if voxels.ndim == 4 else voxels[None]).transpose(0, *(1 + i for i in order))
    # napari's world has the axes of the data: both sides of the matrix change places.
    matrix = matrix[np.ix_([*order, 3], [*order, 3])]
    metadata = dict(attributes.get("metadata") or {})
    if DISPLAY_TO_WORLD in metadata:
        display_to_world = np.asarray(metadata.pop(DISPLAY_TO_WORLD), dtype=np.float64)
    else:
        metadata = {}  # another plugin's, in another plugin's words
        display_to_world = _borrowed_world(name, channels.shape[1:], matrix, among)
    matrix = display_to_world @ matrix
    metadata.pop("time_step", None)
    if seconds:
        metadata["time_step"] = seconds
    metadata.pop("kind", None)
    if layer_type == "labels":
        metadata["kind"] = "labels"
    # Refuses an affine that squashes the volume, before anything is turned.
    upright = Volume(channels, matrix)
    turned, affine = to_ras(upright.data, upright.affine)
    return Volume(turned, affine, metadata)


def _borrowed_world(
    name: str, shape: tuple[int, ...], matrix: npt.NDArray[np.float64], among: Iterable["Layer"]
) -> npt.NDArray[np.float64]:
    """From the displayed to the true world for a layer that does not know: as its neighbours do.

    Where these differ, those on the same grid decide.
    """
    neighbours = [layer for layer in among if DISPLAY_TO_WORLD in layer.metadata]
    worlds = _distinct(neighbours)
    if len(worlds) > 1:
        display = np.diag(matrix)[:3], matrix[:3, 3]
        worlds = _distinct(
            layer
            for layer in neighbours
            if layer.data.shape[-3:] == shape
            and np.allclose(layer.scale[-3:], display[0])
            and np.allclose(layer.translate[-3:], display[1])
        )
        if len(worlds) != 1:
            msg = (
                f"Layer '{name}' lies on volumes that are turned differently, so its place in the world is unknown: "
                "remove the ones that it does not belong to, then save it."
            )
            raise BrainDiffusionError(msg)
    return worlds[0] if worlds else np.eye(4)


def _distinct(layers: Iterable["Layer"]) -> list[npt.NDArray[np.float64]]:
    found: list[npt.NDArray[np.float64]] = []
    for layer in layers:
        world = np.asarray(layer.metadata[DISPLAY_TO_WORLD], dtype=np.float64)
        if not any(np.allclose(world, other, atol=1e-6) for other in found):
            found.append(world)
    return found


def _layer_data(
    volume: Volume, name: str, kind: Kind, leading: tuple[str, str, float] | None, kwargs: dict[str, Any]
) -> LayerData:
    scale, translate, display_to_world = _display_geometry(volume)
    data = volume.data[0] if leading is None else volume.data
    attributes: dict[str, Any] = {
        "name": name,
        "scale": scale,
        "translate": translate,
        "units": ("millimeter",) * 3,
        "axis_labels": AXIS_LABELS,
    }
    if leading is not None:
        label, unit, step = leading
        attributes["scale"] = (step, *scale)
        attributes["translate"] = (0.0, *translate)
        attributes["units"] = (unit, *attributes["units"])
        attributes["axis_labels"] = (label, *AXIS_LABELS)
    if kind == "labels":
        data = _whole_numbers(data, name)
    elif "contrast_limits" not in kwargs:
        attributes["contrast_limits"] = _contrast_limits(volume.data)
    extra = dict(kwargs)
    metadata = {**volume.metadata, **extra.pop("metadata", {}), DISPLAY_TO_WORLD: display_to_world.tolist()}
    return data, {**attributes, **extra, "metadata": metadata}, kind


def _display_geometry(
    volume: Volume,
) -> tuple[tuple[float, ...], tuple[float, ...], npt.NDArray[np.float64]]:
    """Scale and translate of the upright display, and the matrix from there to the world.

    The middle of the volume is shown where it is in the world; the rest turns about it. For an affine that is a
    positive diagonal already, the display is the world, exactly.
    """
    spacing = np.array(volume.spacing)
    if np.array_equal(volume.affine[:3, :3], np.diag(spacing)):
        return tuple(spacing.tolist()), tuple(volume.affine[:3, 3].tolist()), np.eye(4)
    centre = (np.array(volume.shape) - 1) / 2
    display = np.diag([*spacing, 1.0])
    display[:3, 3] = volume.affine[:3, :3] @ centre + volume.affine[:3, 3] - spacing * centre
    return tuple(spacing.tolist()), tuple(display[:3, 3].tolist()), volume.affine @ np.linalg.inv(display)


def _to_millimetres(
    name: str, ndim: int, attributes: Mapping[str, Any]
) -> tuple[npt.NDArray[np.float64], float | None]:
    """The layer's own matrix, voxels of its last three axes to displayed millimetres.

    Beside it the seconds between the steps of the first of four axes, where that is time.
    """
    from napari.utils.transforms import CompositeAffine

    own = CompositeAffine(
        scale=attributes.get("scale", (1,) * ndim),
        translate=attributes.get("translate", (0,) * ndim),
        rotate=attributes.get("rotate"),
        shear=attributes.get("shear"),
    ).affine_matrix
    affine = attributes.get("affine")
    matrix = own if affine is None else np.asarray(affine, dtype=np.float64) @ own
    matrix[-4:-1, -1] -= (attributes.get("metadata") or {}).get(SHOWN_AWAY, 0.0)
    factors, seconds = _unit_factors(name, attributes.get("units") or ("pixel",) * ndim)
    matrix = np.diag([*factors, 1.0]) @ matrix
    if ndim == 3:
        return matrix, None
    if np.any(matrix[0, 1:4]) or np.any(matrix[1:4, 0]):
        msg = f"Layer '{name}' mixes its first axis with space (rotated or sheared): reset its transform first."
        raise BrainDiffusionError(msg)
    return matrix[1:, 1:], abs(float(matrix[0, 0])) if seconds else None


def _unit_factors(name: str, units: Sequence[Any]) -> tuple[list[float], bool]:
    """Return the factors from each axis' unit to mm (a leading axis: to seconds), and whether that is time."""
    import pint

    registry = pint.get_application_registry()
    quantities = [registry.Quantity(1, str(unit)) for unit in units]
    factors = []
    for quantity in quantities[-3:]:
        if quantity.check("[length]"):
            factors.append(float(quantity.to("millimeter").magnitude))
        elif str(quantity.units) in ("pixel", "dimensionless"):
            factors.append(1.0)
        else:
            msg = f"Layer '{name}' measures space in {quantity.units}: give it a unit of length, such as mm."
            raise BrainDiffusionError(msg)
    timed = len(quantities) > 3 and quantities[0].check("[time]")
    leading = [float(quantities[0].to("second").magnitude) if timed else 1.0] if len(quantities) > 3 else []
    return leading + factors, timed


def _spatial_order(labels: Sequence[str] | None) -> list[int]:
    """Return the positions of x, y and z among the last three axes; unnamed axes are in this order."""
    spatial = [str(label).lower() for label in labels or ()][-3:]
    return [spatial.index(axis) for axis in AXIS_LABELS] if sorted(spatial) == list(AXIS_LABELS) else [0, 1, 2]


def _whole_numbers(data: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if data.dtype.kind in "iub":
        return data
    whole = np.rint(data)
    if not np.array_equal(whole, data):
        msg = f"'{name}' is no label map: it holds values that are not whole numbers; open it as an image."
        raise BrainDiffusionError(msg)
    return whole.astype(np.int32)


def _contrast_limits(data: npt.NDArray[Any]) -> tuple[float, float]:
    """Lowest value to the 99.9th percentile of what is above it: one hot voxel does not darken the brain."""
    flat = data.reshape(-1)
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    low = float(data.min())
    above = sample[sample > low]
    high = float(np.percentile(above, 99.9)) if above.size else float(data.max())
    return (low, high) if high > low else (low, low + 1.0)

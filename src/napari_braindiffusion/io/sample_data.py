"""File > Open Sample > BrainDiffusion: brains that come with the package; nothing is downloaded."""

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import dlmuse_names, sample_labels_path, sample_t1_path
from braindiffusion.models.registry import DEFAULT_MODEL, find_model
from braindiffusion.volume import load_volume
from napari import current_viewer
from napari_braindiffusion.io.files import read_layer
from napari_braindiffusion.layers.display import set_initial_view
from napari_braindiffusion.layers.geometry import LayerData, region_features, volume_to_layer_data


def real_brain() -> list[LayerData]:
    """A T1w volume of the IXI dataset (2 mm, skull-stripped), and its regions with their names."""
    layers = [
        volume_to_layer_data(load_volume(sample_t1_path()), "IXI T1w"),
        volume_to_layer_data(
            load_volume(sample_labels_path()),
            "IXI regions",
            "labels",
            features=region_features(dlmuse_names()),
            opacity=0.4,
        ),
    ]
    set_initial_view(current_viewer())
    return layers


def generated_brain() -> list[LayerData]:
    """A brain that the packaged model made.

    Raises:
        BrainDiffusionError: The installation lacks the example.
    """
    path = find_model(DEFAULT_MODEL) / "example.nii.gz"
    if not path.is_file():
        msg = f"{path} is missing from the installation: make a brain with the Generate dock instead."
        raise BrainDiffusionError(msg)
    data, attributes, kind = read_layer(path)
    layers: list[LayerData] = [(data, attributes | {"name": "Generated brain"}, kind)]
    set_initial_view(current_viewer())
    return layers

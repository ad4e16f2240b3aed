"""A prepared cohort as lazy 4D layers in the real viewer."""

import threading
import time

import numpy as np
import pytest
import zarr

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.errors import BrainDiffusionError
from napari_braindiffusion.layers import lazy
from napari_braindiffusion.layers.cohort import in_words, open_cohort, show_cohort
from napari_braindiffusion.layers.display import show_volume
from napari_braindiffusion.layers.lazy import ChunkReader, LazyVolumes
from napari_braindiffusion.layers.trajectory_caption import TrajectoryCaption

SHAPE = (8, 10, 12)
COUNT = 7


def make(path, channels="T1", labels=True):
    """A cohort in which subject i is i / 10 everywhere, and its label i + 1."""
    preprocessing = Preprocessing(spacing=4.0, shape=SHAPE, modality=channels)
    count = len(preprocessing.channels)
    cohort = Cohort.create(path, preprocessing, channels=count, labels=np.dtype(np.uint16) if labels else None)
    for i in range(COUNT):
        voxels = np.stack([np.full(SHAPE, i / 10 + channel / 100, np.float16) for channel in range(count)])
        regions = np.full(SHAPE, i + 1, np.uint16) if labels else None
        mask = np.ones(SHAPE, bool)
        cohort.put(Subject(id=f"sub-{i}", age=20 + i, sex="F"), PreparedVolume(voxels, mask, regions, np.eye(4)))
    cohort.finish()
    return cohort


@pytest.fixture
def cohort(tmp_path):
    return make(tmp_path / "brains.zarr")


def value(layer, subject):
    return layer.get_value((subject, 0, 0, 0), world=True)


def test_one_layer_with_a_slider_and_the_subject_s_name(viewer, cohort, qtbot):
    volumes, regions = show_cohort(viewer, cohort)
    assert list(viewer.layers) == [volumes, regions]
    assert (volumes.name, regions.name) == ("brains", "brains regions")
    assert volumes.data.shape == regions.data.shape == (COUNT, *SHAPE)
    assert viewer.dims.axis_labels == ("subject", "x", "y", "z")
    assert viewer.dims.order == (0, 3, 2, 1)
    assert [str(unit) for unit in volumes.units] == ["pixel", *["millimeter"] * 3]
    np.testing.assert_array_equal(volumes.scale, (1, 4, 4, 4))
    assert volumes.metadata["cohort"] == str(cohort.path)
    assert not regions.editable
    overlay = viewer.canvas.overlays.text
    assert overlay.visible
    assert overlay.text == "sub-0 · 20.0 years · F · 1 of 7"
    for subject in (3, 6, 0):
        viewer.dims.set_point(0, subject)
        assert overlay.text.startswith(f"sub-{subject} ")
        qtbot.waitUntil(lambda i=subject: value(volumes, i) == np.float16(i / 10))
        qtbot.waitUntil(lambda i=subject: value(regions, i) == i + 1)


def test_labels_carry_the_names_of_their_regions(viewer, cohort):
    ((opened, names),) = open_cohort(cohort.path)
    _, regions = show_cohort(viewer, opened, names)
    features = regions.features
    assert features["region"][features["index"] == 1].item() == "sulcal csf"


def test_the_viewer_never_waits_for_a_disk(viewer, cohort, qtbot, monkeypatch):
    """The reads stand still until we let them go: the slider moves on, and the brain comes when it comes."""
    gate = threading.Event()
    read = zarr.Array.__getitem__

    def slow(array, key):
        assert threading.current_thread().name.startswith("cohort-reader")
        gate.wait(10)
        return read(array, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", slow)
    volumes, _ = show_cohort(viewer, cohort)
    began = time.monotonic()
    for subject in range(COUNT):
        viewer.dims.set_point(0, subject)
    assert time.monotonic() - began < 5  # not one of the 10 s
    assert value(volumes, COUNT - 1) == -1
    assert viewer.canvas.overlays.text.text.startswith("sub-6 ")
    gate.set()
    qtbot.waitUntil(lambda: value(volumes, COUNT - 1) == np.float16(0.6))


def test_each_channel_is_a_layer(viewer, tmp_path, qtbot):
    layers = show_cohort(viewer, make(tmp_path / "two.zarr", "T1,T2", labels=False))
    assert [layer.name for layer in layers] == ["two T1", "two T2"]
    assert layers[0].data.reader is layers[1].data.reader
    viewer.dims.set_point(0, 2)
    qtbot.waitUntil(lambda: [value(layer, 2) for layer in layers] == [np.float16(0.2), np.float16(0.21)])
    reader = layers[0].data.reader
    viewer.layers.remove(layers[0])
    assert reader.get(3) is not None  # the other layer needs it still


def test_the_name_goes_with_the_layers(viewer, cohort, tmp_path):
    overlay = viewer.canvas.overlays.text
    volumes, regions = show_cohort(viewer, cohort)
    volumes.visible = regions.visible = False
    assert not overlay.visible
    volumes.visible = True
    assert overlay.visible
    from braindiffusion.volume import Volume

    other = show_volume(viewer, Volume(np.zeros((1, *SHAPE), np.float32), np.eye(4)), "another")
    viewer.layers.selection.active = other
    assert not overlay.visible
    viewer.layers.selection.active = regions
    assert overlay.visible
    viewer.layers.remove(regions)
    viewer.layers.selection.active = volumes
    assert overlay.visible
    viewer.layers.remove(volumes)
    assert not overlay.visible
    viewer.dims.set_point(0, 0)  # nobody listens any more
    assert not overlay.visible


def test_beside_other_layers_the_view_stays(viewer, cohort):
    from braindiffusion.volume import Volume

    show_volume(viewer, Volume(np.zeros((1, *SHAPE), np.float32), np.eye(4)), "a brain")
    viewer.dims.set_point(2, 5)
    show_cohort(viewer, cohort)
    assert viewer.dims.axis_labels == ("subject", "x", "y", "z")
    assert viewer.dims.point[3] == 5


class TestLazyVolumes:
    @pytest.fixture
    def reader(self, cohort):
        reader = ChunkReader(cohort.volumes, lambda _: None)
        yield reader
        reader.close()

    def test_is_sliced_as_numpy_would(self, reader, cohort, monkeypatch):
        monkeypatch.setattr(lazy, "PATIENCE", 10)
        volumes, whole = LazyVolumes(reader, 0), np.asarray(cohort.volumes)[:, 0]
        assert (len(volumes), volumes.ndim, volumes.size) == (COUNT, 4, whole.size)
        assert volumes.dtype == np.float16
        for key in (np.s_[2], np.s_[-1, :, 3], np.s_[1, 2:5, :, 4], np.s_[1:4, 2], np.s_[:, 3, 4, 5], np.s_[3:3]):
            np.testing.assert_array_equal(volumes[key], whole[key])
            assert volumes[key].shape == whole[key].shape
        np.testing.assert_array_equal(np.asarray(volumes), whole)
        assert np.asarray(volumes, dtype=np.float32).dtype == np.float32
        with pytest.raises(IndexError):
            volumes[COUNT]

    def test_neighbours_are_read_ahead_and_old_ones_forgotten(self, reader, monkeypatch):
        monkeypatch.setattr(lazy, "PATIENCE", 10)
        reader._most = 4
        for index in range(COUNT):
            assert reader.get(index) is not None
        assert reader.get(COUNT - 2) is not None
        assert len(reader._chunks) <= 4
        assert 0 not in reader._chunks

    def test_what_is_late_is_blank_and_told(self, cohort, monkeypatch):
        monkeypatch.setattr(lazy, "PATIENCE", 0)
        told: list[int] = []
        there = threading.Event()
        reader = ChunkReader(cohort.labels, lambda index: (told.append(index), there.set()))
        volumes = LazyVolumes(reader, blank=9)
        first = volumes[4]
        assert set(np.unique(first)) <= {9, 5}
        if first.max() == 9:
            assert there.wait(10)
            assert told == [4]
        assert volumes[4].max() == 5
        reader.close()

    def test_a_lost_chunk_is_told_and_does_not_pass_for_an_empty_brain(self, cohort):
        next(path for path in (cohort.path / "volumes" / "c" / "2").rglob("*") if path.is_file()).unlink()
        told: list[str] = []
        there = threading.Event()
        reader = ChunkReader(cohort.volumes, lambda _: None, lambda message: (told.append(message), there.set()))
        reader.get(2)
        assert there.wait(10)
        assert "the volumes of sub-2 cannot be used" in told[0]
        with pytest.raises(BrainDiffusionError, match="sub-2"):
            np.asarray(LazyVolumes(reader, 0))
        reader.close()


def test_subjects_in_words():
    assert in_words(Subject(id="sub-1"), 0, 2) == "sub-1 · 1 of 2"
    assert in_words(Subject(id="a", age=61.26, sex="M", site="HH"), 1, 2) == "a · 61.3 years · M · HH · 2 of 2"


def test_a_store_without_volumes_is_told(tmp_path):
    Cohort.create(tmp_path / "empty.zarr", Preprocessing(spacing=4.0, shape=SHAPE))
    with pytest.raises(BrainDiffusionError, match="holds no volumes yet"):
        list(open_cohort(tmp_path / "empty.zarr"))


def test_each_layer_with_a_slider_has_its_own_text(viewer, cohort, tmp_path):
    """Cohorts, trajectories and other 4D layers share a slider and a line of text: it is that of the selected one."""
    first, *_ = show_cohort(viewer, cohort)
    second, *_ = show_cohort(viewer, make(tmp_path / "more.zarr"))
    caption = TrajectoryCaption(viewer)
    frames = [{"level": 0, "step": step, "of": COUNT} for step in range(COUNT)]
    told = {"trajectory": frames}
    way = viewer.add_image(np.zeros((COUNT, *SHAPE)), name="way", metadata={"provenance": told}, units="mm")
    channels = viewer.add_image(np.zeros((COUNT, *SHAPE)), name="channels", units="mm")
    overlay = viewer.canvas.overlays.text
    texts = {first: "sub-2 · ", second: "sub-2 · ", way: "level 1 of 1 · step 2", channels: None}
    viewer.dims.set_point(0, 2)
    for layer in (first, second, first, way, second, way, first, channels, way, channels, second):
        viewer.layers.selection.active = layer
        for _ in range(2):
            assert overlay.visible == (texts[layer] is not None), layer.name
            assert texts[layer] is None or overlay.text.startswith(texts[layer]), layer.name
            viewer.dims.set_point(0, 1)
            viewer.dims.set_point(0, 2)
    caption.close()
    assert overlay.visible
    assert overlay.text.startswith("sub-2 · ")

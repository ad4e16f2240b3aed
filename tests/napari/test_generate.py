"""The Generate dock with a real engine and a small model: cards, mosaics, moments, and the very same brain again."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices, QShowEvent

from braindiffusion.conditions import ConditionSchema, Numbers, ScalarField, VectorField
from braindiffusion.diffusion.samplers import SamplerName
from braindiffusion.models.card import FastSampling, ModelCard
from braindiffusion.models.cascade import Cascade, save_model
from braindiffusion.models.cascade.config import CascadeConfig, LevelConfig, UNetConfig
from braindiffusion.models.registry import find_model, list_models, read_card
from braindiffusion.runs import ArtifactWritten, GenerateRequest, list_runs
from braindiffusion.training.presets import AUTO, PRESETS
from braindiffusion.volume import Volume
from napari_braindiffusion import commands
from napari_braindiffusion.docks.generate import LOW_RESOLUTION, GenerateDock
from napari_braindiffusion.layers.trajectory_caption import TrajectoryCaption
from napari_braindiffusion.widgets.forms.generate_form import GenerateForm
from napari_braindiffusion.widgets.forms.percentiles import PercentilesRow
from napari_braindiffusion.widgets.forms.train_form import TrainForm
from napari_braindiffusion.widgets.model_card import ModelCardView, about

TIMEOUT = 60_000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two levels of noise that can be asked for an age."""
    age = ScalarField(name="age", unit="years", seen=Numbers.of(np.arange(20.0, 81.0)))
    level = LevelConfig(unet=UNetConfig(widths=(8,), blocks=(1,), attention=(False,)), steps=3)
    config = CascadeConfig(
        shape=(16, 24, 16), spacing=4.0, depth=1, levels=(level,) * 2, condition=ConditionSchema(fields=(age,))
    )
    cascade = Cascade(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in cascade.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(cascade, folder, {"name": "small", "split": {"train": ["a", "b"], "validation": ["c"]}})
    return folder


@pytest.fixture
def dock(viewer, model):
    dock = GenerateDock(viewer)
    viewer.window.add_dock_widget(dock, name="Generate", area="right")
    dock.form.choose_model(model)
    return dock


def test_a_setting_that_cannot_be_read_is_told_in_one_sentence(dock, notices):
    dock.form.fields["steps"].native.setText("20,")
    assert dock.generate() is None
    assert notices() == [("error", "Sampling steps: write whole numbers with commas between them.")]
    assert dock.generate_button.isEnabled()


def test_a_bundle_of_monai_has_its_own_conditions(dock, tmp_path):
    network = {
        "_target_": "monai.networks.nets.DiffusionModelUNet",
        "spatial_dims": 3,
        "channels": [8],
        "out_channels": 1,
    }
    network |= {"with_conditioning": True, "cross_attention_dim": 2}
    inference = {
        "age": 0.1,
        "brain_vol": 0.4,
        "conditioning": "$torch.tensor([[@age, @brain_vol]])",
        "network_def": network,
        "scheduler": {"_target_": "monai.networks.schedulers.DDIMScheduler"},
    }
    output = {"spatial_shape": [16, 16, 16]}
    metadata = {"task": "Brain synthesis", "network_data_format": {"outputs": {"pred": output}}}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(inference))
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(metadata))
    dock.form.choose_model(tmp_path)
    assert list(dock.form.conditions.rows) == ["age", "brain_vol"]
    dock.form.conditions.ask({"brain_vol": 0.7})
    assert dock.form.request().condition == {"brain_vol": 0.7}
    assert dock.form.request().model == str(tmp_path)


def done(qtbot, dock):
    qtbot.waitUntil(lambda: dock.job is None, timeout=TIMEOUT)


def test_what_a_user_does_with_a_real_engine(dock, viewer, qtbot, notices, tmp_path, monkeypatch):
    form = dock.form
    # a coarse brain follows what is asked
    with qtbot.waitSignal(dock.preview.volume, timeout=TIMEOUT):
        form.conditions.rows["age"].check_box.setChecked(True)
    assert [layer.name for layer in viewer.layers] == [LOW_RESOLUTION]
    qtbot.waitUntil(lambda: not dock.preview.pending, timeout=TIMEOUT)
    assert list_runs() == []

    # two brains, beside each other, with their way from noise
    form.fields["num_samples"].value = 2
    form.fields["seed"].value = 7
    form.fields["trajectory"].value = True
    qtbot.mouseClick(dock.generate_button, Qt.MouseButton.LeftButton)
    done(qtbot, dock)
    assert notices() == []
    assert dock.progress.label.text().startswith("2 brains in ")
    assert form.fields["seed"].value == 9
    assert viewer.canvas.grid.enabled
    first, second = (viewer.layers[f"age 50, seed {6 + i}"] for i in (1, 2))
    way = viewer.layers["age 50, seed 8 (trajectory)"]
    assert first.visible
    assert second.visible
    qtbot.waitUntil(lambda: first.name_overlay.visible and second.name_overlay.visible)
    np.testing.assert_array_equal(first.contrast_limits, second.contrast_limits)
    np.testing.assert_array_equal(first.scale, (4, 4, 4))

    # provenance as in the sidecar, and which moment the slider is at
    sidecar = json.loads((list_runs()[0].results / "sample_002.json").read_text())
    assert second.metadata["provenance"] == way.metadata["provenance"] == sidecar
    assert sidecar["condition"] == {"age": 50.0}
    caption = viewer.canvas.overlays.text
    for layer in viewer.layers:
        layer.visible = layer.name == way.name
    viewer.layers.selection.active = way
    viewer.dims.set_point(0, 1)
    assert caption.visible
    moment = sidecar["trajectory"][1]
    assert caption.text == f"level 1 of 2 · step 1 of 3 · sigma {moment['sigma']:.3g}"  # frame 0 is noise
    way.visible = False
    assert not caption.visible

    # the very same again: from the layer, by the palette's command; and from the file
    viewer.layers.selection.active = second
    dock.reproduce_button.update_menu()
    assert dock.reproduce_button.layer_action.isEnabled()
    dock.reproduce_button.layer_action.trigger()
    done(qtbot, dock)
    assert dock.progress.label.text() == "The very same brain, to the last bit."
    again = viewer.layers["age 50, seed 8 [1]"]
    np.testing.assert_array_equal(again.data, second.data)
    assert form.fields["seed"].value == 9  # it is no step in a series
    saved = str(list_runs()[-1].results / "sample_001.nii.gz")
    chosen = "napari_braindiffusion.docks.reproduce_button.QFileDialog.getOpenFileName"
    monkeypatch.setattr(chosen, lambda *_, **__: (saved, ""))
    dock.reproduce_button.file_action.trigger()
    done(qtbot, dock)
    np.testing.assert_array_equal(viewer.layers["age 50, seed 7 [1]"].data, first.data)

    # or its settings, to vary them
    form.conditions.ask({})
    form.fields["num_samples"].value = 5
    viewer.layers.selection.active = second
    dock.reproduce_button.settings_action.trigger()
    request = form.request()
    assert (request.seed, request.num_samples, request.condition) == (8, 1, {"age": 50.0})

    # a model that is no longer there is told
    provenance = {**sidecar, "request": {**sidecar["request"], "model": str(tmp_path / "gone")}}
    second.metadata = {**second.metadata, "provenance": provenance}
    dock.regenerate(second)
    done(qtbot, dock)
    assert "gone" in notices()[-1][1]
    assert notices()[-1][0] == "error"


def test_previews_leave_the_selection_alone(dock, viewer):
    """Whoever paints keeps the brush; a finished brain is selected."""
    first, second = (Volume(np.full((1, 4, 5, 6), value, np.float32), np.diag([4.0, 4, 4, 1])) for value in (1, 2))
    painted = viewer.add_labels(np.zeros((4, 5, 6), np.uint8), units="mm")
    dock._on_preview(first)
    assert viewer.layers[LOW_RESOLUTION] is not None
    assert viewer.layers.selection == {painted}
    dock._remove_preview()
    dock._on_artifact(ArtifactWritten(kind="preview", path="preview.nii"), first)
    assert len(viewer.layers) == 2
    assert viewer.layers.selection == {painted}
    dock._on_artifact(ArtifactWritten(kind="volume", path="brain.nii", name="brain"), second)
    assert viewer.layers.selection.active == viewer.layers["brain"]


def test_what_cannot_be_made_again_says_so(dock, viewer, notices, tmp_path, monkeypatch):
    layer = viewer.add_image(np.zeros((4, 4, 4)), name="mine")
    dock.reproduce_button.update_menu()
    assert not dock.reproduce_button.layer_action.isEnabled()
    assert not dock.reproduce_button.folder_action.isEnabled()
    assert dock.regenerate(layer) is None
    assert "'mine' does not tell where it comes from" in notices()[-1][1]
    viewer.layers.clear()
    assert dock.regenerate() is None
    assert "Select a layer" in notices()[-1][1]
    (tmp_path / "brain.nii.gz").touch()
    chosen = "napari_braindiffusion.docks.reproduce_button.QFileDialog.getOpenFileName"
    monkeypatch.setattr(chosen, lambda *_, **__: (str(tmp_path / "brain.nii.gz"), ""))
    dock.reproduce_button.file_action.trigger()
    assert "brain.nii.gz has no sidecar (brain.json)" in notices()[-1][1]
    layer.metadata["provenance"] = {"synthetic": True}
    viewer.add_layer(layer)
    dock.reproduce_button.update_menu()
    dock.reproduce_button.settings_action.trigger()
    assert "does not tell with which settings" in notices()[-1][1]


def test_the_command_of_the_palette_opens_the_dock_and_asks_it(viewer, notices):
    viewer.add_image(np.zeros((4, 4, 4)), name="mine")
    commands.regenerate_brain(viewer)
    assert "does not tell where it comes from" in notices()[-1][1]


def test_the_folder_of_a_brain_opens(dock, viewer, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    viewer.add_image(np.zeros((4, 4, 4)), metadata={"path": str(tmp_path / "a.nii.gz")})
    dock.reproduce_button.update_menu()
    dock.reproduce_button.folder_action.trigger()
    dock.form.card.folder_button.click()
    assert [url.toLocalFile() for url in opened] == [str(tmp_path), dock.form.request().model]


@pytest.mark.parametrize("event", [lambda dock: dock.enterEvent(None), lambda dock: dock.showEvent(QShowEvent())])
def test_the_engine_is_warm_before_anything_is_asked(dock, qtbot, viewer, event):
    event(dock)
    qtbot.waitUntil(lambda: dock.preview.job is not None)
    assert not dock.preview.pending  # nothing will be shown
    qtbot.waitUntil(lambda: dock.preview.job is None, timeout=TIMEOUT)
    assert len(viewer.layers) == 0
    assert dock.engine.pid is not None


class TestCard:
    def test_tells_all_that_one_wants_to_know_of_the_packaged_model(self, qtbot):
        packaged = list_models()[0]
        card = ModelCardView()
        qtbot.addWidget(card)
        card.show_card(packaged.card, packaged.path)
        for word in (
            "118 subjects",
            "Age (20",
            "F or M",
            "40 regions",
            "validation loss",
            "never clinical",
            "CC BY-SA",
        ):
            assert word.lower() in card.details.text().lower()
        assert packaged.card.summary in card.summary.text()
        assert card.folder_button.toolTip() == str(packaged.path)
        card.show_card(None)
        assert card.isHidden()

    def test_a_training_without_words_tells_what_it_knows(self, dock):
        assert dock.form.card.summary.text() == "2 subjects; 1 held out"
        done_so = {"spacing": 1.0, "shape": (8, 8, 8), "skull": "strip", "modality": "T1"}
        fields = {"preprocessing": done_so, "evaluation": {"kid": 0.01234, "w": "few"}, "limits": ["a", "b"]}
        untold = ModelCard.model_validate(fields)
        told = dict(about(untold))
        assert told["What it makes"] == "Skull-stripped T1 brains at 1 mm (8 x 8 x 8 voxels)."
        assert told["Figures"] == "Kid 0.0123; w few."
        split = {"train": ["a", "b"], "validation": ["c"], "seen_by_coarser_levels": ["c"]}
        added = dict(about(ModelCard.model_validate({"split": split})))
        assert "2 subjects; 1 held out from the finest level alone." in added.values()
        assert told["Limits"] == "A; b."
        assert about(ModelCard(configuration={"condition": {"fields": "none"}})) == []


def test_every_preset_of_the_engine_is_offered(qtbot):
    form = TrainForm()
    qtbot.addWidget(form)
    assert form.fields["preset"].choices == (AUTO, *PRESETS)
    assert all(map(tooltips(form.fields["preset"]).get, (AUTO, *PRESETS)))


def tooltips(choice) -> dict[str, str]:
    items = range(len(choice))
    return {choice.native.itemData(row): choice.native.itemData(row, Qt.ItemDataRole.ToolTipRole) for row in items}


def test_every_sampler_of_the_engine_is_explained(dock):
    form = dock.form
    own = read_card(find_model(form.request().model)).sampling_defaults
    assert form.fields["sampler"].current_choice == f"Default ({own['sampler'][0]})"
    assert form.fields["levels"].native.text() == f"Default ({own['levels'][0]})"
    assert form.fields["steps"].native.placeholderText().startswith("Default (")
    assert set(form.fields["sampler"].choices) == {None, *get_args(SamplerName)}
    assert all(map(tooltips(form.fields["sampler"]).get, get_args(SamplerName)))
    assert form.fields["eta"].enabled == ("ddim" in own["sampler"])
    form.fields["sampler"].value = "ddim"
    assert form.fields["eta"].enabled
    form.fields["sampler"].value = "heun"
    assert not form.fields["eta"].enabled
    assert form.request().sampler == "heun"
    form.show_request(GenerateRequest(model=form.request().model, sampler="ddim", eta=0.5, steps=4, seed=3))
    assert (form.request().sampler, form.request().eta, form.request().steps) == ("ddim", 0.5, 4)


def test_fast_sampling_is_offered_where_the_model_has_it(qtbot):
    """It has steps of its own, and a model without it takes the tick away."""
    form = GenerateForm()
    qtbot.addWidget(form)
    form.show_defaults({"steps": [4, 5]})
    assert not form.fields["fast"].enabled
    form.show_defaults({"steps": [4, 5], "fast": FastSampling(steps=(2, 2))})
    form.fields["steps"].value = 7
    form.fields["fast"].value = True
    assert not form.fields["steps"].enabled
    assert (form.request().fast, form.request().steps) == (True, None)
    form.fields["fast"].value = False
    assert form.request().steps == 7
    form.fields["fast"].value = True
    form.show_defaults({"steps": [4, 5]})
    assert (form.request().fast, form.fields["steps"].enabled) == (None, True)


def test_a_distilled_model_is_taken_unless_a_setting_is_chosen_that_it_has_not_learnt(qtbot):
    """The texts of the defaults say what the engine will do."""
    form = GenerateForm()
    qtbot.addWidget(form)
    full = {"anatomy": "sampled", "steps": [20, 6], "guidance": [2.0], "fast": FastSampling(model="small-fast")}
    form.show_defaults(full, {"steps": [4, 2], "guidance": [1.0]})

    def shown(name):
        return form.fields[name].native.itemText(0)

    assert shown("fast") == "Default (on)"
    form.fields["steps"].value = 7
    assert (shown("fast"), form.request().suits_distilled) == ("Default (off)", False)
    form.fields["steps"].value = None
    assert (shown("fast"), form.request().suits_distilled) == ("Default (on)", True)
    form.fields["anatomy"].value = "none"
    assert (shown("fast"), form.request().suits_distilled) == ("Default (off)", False)
    form.fields["anatomy"].value = None
    form.fields["fast"].value = False
    form.fields["guidance"].value = 3.0
    assert (form.request().fast, form.request().guidance) == (False, 3.0)


@pytest.mark.parametrize("settings", [{"fast": FastSampling(model="small-fast")}, {"distilled": True}])
def test_a_distilled_model_keeps_its_own_sampling(qtbot, settings):
    """What it would refuse cannot be asked for; without it, all is as it was chosen."""
    form = GenerateForm()
    qtbot.addWidget(form)
    defaults = {"anatomy": "sampled", "sampler": ["ddim"]}
    form.show_defaults(defaults)
    form.set_values({"sampler": "ddim", "eta": 0.5, "guidance": 3.0, "steps": 4})
    chosen = form.request()
    form.show_defaults(defaults | settings, {"sampler": ["ddim"]} if "fast" in settings else None)
    form.fields["fast"].value = True if "fast" in settings else None
    request = form.request()
    assert (request.sampler, request.eta, request.guidance, request.steps) == (None, 0.0, None, None)
    assert not any(form.fields[name].enabled for name in ("sampler", "eta", "guidance", "steps", "autoguidance"))
    form.show_defaults(defaults)
    assert form.request() == chosen
    assert all(form.fields[name].enabled for name in ("sampler", "eta", "guidance", "steps", "autoguidance"))


def test_a_pair_of_regions_is_asked_for_at_once(qtbot):
    seen = Numbers.of(np.linspace(5, 15, 101))
    field = VectorField(
        name="volumes", unit="ml", entries=("left caudate", "right caudate", "sulcal csf"), seen=(seen,) * 3
    )
    row = PercentilesRow(field)
    qtbot.addWidget(row)
    titles = [row.box.itemText(i) for i in range(row.box.count())]
    assert set(titles) == {"Caudate, both sides", "Left caudate", "Right caudate", "Sulcal CSF"}
    row.add("left caudate", 20)
    row.add("caudate", 75)
    assert row.value() == {"caudate": "75%"}
    assert row.sliders["caudate"].amount.text() == "75%: 12.5, 12.5 ml"
    assert row.sliders["caudate"].label.text() == "Caudate, both sides (5 to 15 ml in training subjects)"
    assert ConditionSchema(fields=(field,)).check({"volumes": row.value()}) == {
        "volumes": {"left caudate": 12.5, "right caudate": 12.5}
    }
    row.add("right caudate", 30)
    assert row.value() == {"right caudate": "30%"}
    row.set_value({"sulcal csf": 10.0})  # in ml, as a request may say it
    assert row.value() == {"sulcal csf": "50%"}


def test_settings_that_the_form_cannot_show_are_told(dock, viewer, model, notices):
    """A command may have asked for more than sliders and spin boxes have."""

    def copied(condition, **settings):
        request = GenerateRequest(model=str(model), condition=condition, **settings)
        told = {"synthetic": True, "request": request.model_dump(mode="json"), "seed": request.seed}
        layer = viewer.add_image(np.zeros((4, 4, 4)), metadata={"provenance": told})
        viewer.layers.selection.active = layer
        notification_manager.records.clear()
        dock.reproduce_button.settings_action.trigger()
        return dock.form.request()

    request = copied({"age": 50.0}, seed=3_000_000_000, guidance=1.2375)
    assert notices() == []
    assert (request.seed, request.guidance, request.condition) == (3_000_000_000, 1.2375, {"age": 50.0})
    for condition in ({"age": 50.25}, {"age": 95.0}, {"age": 50.0, "regions": "/somewhere/regions.nii.gz"}):
        copied(condition)
        ((level, message),) = notices()
        assert level == "warning"
        assert "The form cannot show what was asked for exactly: " in message
    copied({}, seed=2**60)
    assert notices() == [("error", f"Seed: {2**60} cannot be shown in the form.")]


def test_the_caption_of_a_trajectory_goes_with_the_last_dock_that_shows_it(dock, viewer):
    frames = [{"level": 0, "step": step, "of": 3} for step in range(3)]
    other = TrajectoryCaption(viewer)
    viewer.add_image(np.zeros((3, 4, 5, 6)), metadata={"provenance": {"trajectory": frames}})
    overlay = viewer.canvas.overlays.text
    assert overlay.visible
    dock.end()
    assert overlay.visible
    other.close()
    assert not overlay.visible

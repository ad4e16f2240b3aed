"""Forms made from requests: a widget for every field, and nothing defined twice."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from magicgui.widgets import CheckBox
from napari.layers import Labels
from pydantic import BaseModel, Field
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QLabel

from braindiffusion.conditions import CategoryField, ConditionSchema, MapField, Numbers, ScalarField, VectorField
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import (
    DistillRequest,
    EditRequest,
    GenerateRequest,
    PreviewRequest,
    Request,
    SynthesizeRequest,
    TrainRequest,
)
from braindiffusion.runs.requests import EstimateRequest, PrepareRequest
from napari_braindiffusion.widgets.forms.cohort_form import CohortForm
from napari_braindiffusion.widgets.forms.condition_form import ConditionForm
from napari_braindiffusion.widgets.forms.field_widgets import ChoiceEdit, NumberEdit, PathEdit
from napari_braindiffusion.widgets.forms.generate_form import GenerateForm
from napari_braindiffusion.widgets.forms.request_form import RequestForm, build_widget, label_of, tooltip_of
from napari_braindiffusion.widgets.forms.train_form import TrainForm

REQUESTS = get_args(get_args(Request)[0])
NO_FIELD = {
    (PreviewRequest, "request"),
    (EstimateRequest, "of"),
    (GenerateRequest, "condition"),
    (EditRequest, "condition"),
    (SynthesizeRequest, "condition"),
    (DistillRequest, "condition"),
    (EditRequest, "change"),
}
"""Requests within requests, and conditions, which have a form of their own."""


def fields_of(request: type[BaseModel]) -> list[str]:
    return [name for name in request.model_fields if (request, name) not in NO_FIELD]


@pytest.fixture(params=REQUESTS, ids=lambda request: request.__name__)
def form(request, shown):
    return shown(RequestForm(request.param, fields_of(request.param)))


class TestRequestForm:
    def test_every_field_has_a_widget_with_its_default_label_and_help(self, form):
        request = form._request
        for name, widget in form.fields.items():
            info = request.model_fields[name]
            if not info.is_required():
                assert widget.value == info.get_default(call_default_factory=True), name
            assert widget.label.replace("&", "") == label_of(request, name)
            assert widget.tooltip == (tooltip_of(info) or label_of(request, name))

    def test_every_field_can_be_reached_and_has_a_name(self, form):
        for name, widget in form.fields.items():
            focus = widget.native.focusProxy() or widget.native
            assert focus.focusPolicy() & Qt.FocusPolicy.TabFocus, name
            assert focus.accessibleName() == label_of(form._request, name)
            if isinstance(widget, CheckBox):
                continue
            assert [label for label in form.findChildren(QLabel) if label.buddy() is focus], name

    def test_mnemonics_are_unique(self, form):
        marked = [widget.label.partition("&")[2][:1].lower() for widget in form.fields.values()]
        given = [letter for letter in marked if letter]
        assert len(given) == len(set(given))
        assert len(given) > len(marked) / 2

    def test_bounds_are_those_of_the_request(self, form):
        numbers = {name: widget for name, widget in form.fields.items() if isinstance(widget, NumberEdit)}
        for name, widget in numbers.items():
            nullable = NoneType in get_args(form._request.model_fields[name].annotation)
            lowest = widget.native.minimum() + (10.0 ** -widget.native.decimals() if nullable else 0)
            for bound in (lowest, widget.native.maximum()):
                widget.value = round(bound, widget.native.decimals())
                assert validates(form._request, name, widget.value), (name, bound)
            if any(hasattr(one, key) for one in form._request.model_fields[name].metadata for key in ("ge", "gt")):
                below = lowest - 10.0 ** -widget.native.decimals()
                assert not validates(form._request, name, below)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_values_come_back_from_the_request_that_they_make(self, form, data):
        for name, widget in form.fields.items():
            if name != "job":
                widget.value = data.draw(values_of(form._request, name, widget), label=name)
        if form._request in (PreviewRequest, EstimateRequest):
            return
        request = form.make_request()
        form.set_values(request)
        assert form.make_request() == request

    def test_numbers_of_a_command_are_shown_as_they_are(self, form):
        """A spin box has few digits and narrow bounds; a request from a terminal knows neither."""
        for name, widget in form.fields.items():
            if isinstance(widget, NumberEdit):
                kind = int if widget._integer else float
                for number in (0.0123456, 1.2375, 0.3, 3_000_000_000.0, 7.0):
                    if number == kind(number) and validates(form._request, name, kind(number)):
                        form.set_values({name: kind(number)})
                        assert (name, widget.value) == (name, number)
                if widget._nullable:
                    form.set_values({name: None})
                    assert (name, widget.value) == (name, None)

    def test_a_number_that_no_field_holds_is_told(self, shown):
        form = shown(RequestForm(GenerateRequest, ["seed"]))
        with pytest.raises(BrainDiffusionError, match=f"^Seed: {2**60} cannot be shown in the form"):
            form.set_values(GenerateRequest(seed=2**60))
        form.set_values({"seed": 3})
        assert form.values() == {"seed": 3}

    def test_changes_are_told_once(self, shown):
        form, told = shown(RequestForm(GenerateRequest, ["seed", "sampler", "trajectory"])), []
        form.changed.connect(lambda: told.append(True))
        form.fields["seed"].value = 4
        assert len(told) == 1
        form.set_values({"seed": 5, "trajectory": True})
        assert len(told) == 2
        assert form.values() == {"seed": 5, "sampler": None, "trajectory": True}

    def test_a_default_shows_its_value(self, shown):
        form = shown(RequestForm(GenerateRequest, ["steps", "sampler", "levels"]))
        assert form.fields["levels"].native.text() == "Default"
        form.show_default("levels", 4)
        form.show_default("steps", (30, 15))
        form.show_default("sampler", "ddim")
        assert form.fields["levels"].native.text() == "Default (4)"
        assert form.fields["steps"].native.placeholderText() == "Default (30, 15)"
        assert form.fields["sampler"].current_choice == "Default (ddim)"
        assert set(form.values().values()) == {None}
        form.show_default("steps", (12, 12))
        assert form.fields["steps"].native.placeholderText() == "Default (12)"

    def test_an_incomplete_sequence_is_refused_by_its_label(self, shown):
        form = shown(RequestForm(GenerateRequest, ["guidance_interval"]))
        form.fields["guidance_interval"].native.setText("0.5")
        with pytest.raises(
            BrainDiffusionError, match=r"^Guidance interval: write 2 numbers with commas between them\.$"
        ):
            form.make_request()
        form.fields["guidance_interval"].native.setText("0.5, 5")
        assert form.make_request().guidance_interval == (0.5, 5.0)
        form = shown(RequestForm(GenerateRequest, ["steps"]))
        form.fields["steps"].native.setText("20,")
        with pytest.raises(BrainDiffusionError, match=r"^Sampling steps: write whole numbers with commas between them"):
            form.make_request()

    def test_units_follow_the_number(self, shown, qtbot):
        class Asked(BaseModel):
            size: float = Field(default=2, gt=0, json_schema_extra={"unit": "mm"})
            kind: Literal["a", "b"] = "b"

        form = shown(RequestForm(Asked, ["size", "kind"]))
        size = form.fields["size"]
        assert size.native.text() == "2 mm"
        size.value = 60.0
        assert size.native.text() == "60 mm"  # no zeros at the end
        size.native.lineEdit().selectAll()
        qtbot.keyClicks(size.native, "2.5")
        assert (size.value, size.native.text()) == (2.5, "2.5 mm")
        assert form.fields["kind"].choices == ("a", "b")
        with pytest.raises(ValueError, match="none of"):
            form.fields["kind"].value = "c"

    def test_what_has_no_widget_is_an_error(self, shown):
        with pytest.raises(TypeError, match="No widget"):
            RequestForm(GenerateRequest, ["condition"])


def validates(request: type[BaseModel], name: str, value: object) -> bool:
    try:
        request.__pydantic_validator__.validate_assignment(request.model_construct(), name, value)
    except ValueError as error:
        return not any(one["loc"][:1] == (name,) for one in error.errors())
    return True


def values_of(request: type[BaseModel], name: str, widget) -> st.SearchStrategy:
    """Values that a field can have, as a widget can show them."""
    annotation = request.model_fields[name].annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    found = [st.none()] if NoneType in kinds else []
    for kind in kinds:
        text = str(kind)
        if isinstance(widget, ChoiceEdit):
            found.append(st.sampled_from([one for one in widget.choices if one is not None]))
        elif "tuple" in text and "Path" in text:
            found.append(st.lists(st.sampled_from([Path("/a"), Path("/b c/d.nii.gz")]), min_size=1).map(tuple))
        elif "tuple" in text:
            item, length = get_args(kind)[0], None if "..." in text else len(get_args(kind))
            items = {
                int: st.integers(1, 99),
                float: st.sampled_from([0.5, 2.0]),
                str: st.sampled_from(["a", ["b", "c"][0]]),
            }
            found.append(st.lists(items[item], min_size=length or 2, max_size=length or 4).map(tuple))
        elif kind is Path:
            found.append(st.just(Path("/some where/x")))
        elif kind is bool:
            found.append(st.booleans())
        elif kind is str:
            ranges = (request, name) == (SynthesizeRequest, "age")
            found.append(st.sampled_from(["20:80", "7.5:7.5"] if ranges else ["one", "two words"]))
        elif kind in (int, float) and isinstance(widget, NumberEdit):
            digits = widget.native.decimals()
            lowest = widget.native.minimum() + (10.0**-digits if NoneType in kinds else 0)
            found.append(
                st.integers(0, 500)
                .map(lambda n, low=lowest, d=digits: round(min(low + n / 10**d, widget.native.maximum()), d))
                .map(kind)
            )
    return st.one_of(found)


class TestPathEdit:
    def test_tells_once_when_a_path_is_entered(self, shown, qtbot):
        edit, told = PathEdit(), []
        shown(edit.native)
        edit.changed.connect(told.append)
        qtbot.keyClicks(edit.line_edit.native, "/data/ixi")
        assert told == []
        qtbot.keyClick(edit.line_edit.native, Qt.Key.Key_Return)
        assert [str(path) for path in told] == ["/data/ixi"]
        assert edit.line_edit.native.isClearButtonEnabled()
        edit.line_edit.native.clear()
        assert told[1:] == [None]

    def test_its_tooltip_tells_a_path_that_is_too_long_to_show(self, shown):
        edit = PathEdit(tooltip="The brains.")
        shown(edit.native)
        path = "/data/" + "a-long-name/" * 20 + "brains.zarr"
        edit.value = path
        assert edit.line_edit.native.toolTip() == f"{path}\nThe brains."
        edit.value = None
        assert edit.line_edit.native.toolTip() == "The brains."

    def test_takes_a_dropped_folder(self, shown, tmp_path):
        edit, told = PathEdit(), []
        shown(edit.native)
        edit.changed.connect(told.append)
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(tmp_path))])
        buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(1, 1), Qt.DropAction.CopyAction, data, buttons, keys)
        drop = QDropEvent(QPointF(1, 1), Qt.DropAction.CopyAction, data, buttons, keys)
        for event in (enter, drop):
            QApplication.sendEvent(edit.native, event)
        assert told == [tmp_path]

    @pytest.mark.parametrize(
        ("mode", "function", "answer"),
        [
            ("d", "getExistingDirectory", lambda path: path),
            ("r", "getOpenFileName", lambda path: (path, "")),
            ("w", "getSaveFileName", lambda path: (path, "")),
        ],
    )
    def test_takes_what_the_dialog_answers(self, shown, qtbot, monkeypatch, tmp_path, mode, function, answer):
        from magicgui.backends._qtpy import widgets

        dialogs = {key: (lambda *_: answer(str(tmp_path))) for key in widgets.QFILE_DIALOG_MODES}
        monkeypatch.setattr(widgets, "QFILE_DIALOG_MODES", dialogs)
        edit, told = PathEdit(mode), []
        shown(edit.native)
        edit.changed.connect(told.append)
        qtbot.mouseClick(edit.choose_btn.native, Qt.MouseButton.LeftButton)
        assert told == [tmp_path]


class TestConditionForm:
    @pytest.fixture
    def form(self, shown):
        ages, volumes = Numbers.of(np.arange(20.0, 81.0)), Numbers.of(np.linspace(5, 15, 101))
        form = shown(ConditionForm())
        fields = (
            ScalarField(name="age", unit="years", seen=ages),
            CategoryField(name="sex", values=("F", "M")),
            VectorField(name="volumes", unit="ml", entries=("left caudate", "brainstem"), seen=(volumes, volumes)),
            MapField(name="regions", labels=41),
        )
        form.set_schema(ConditionSchema(fields=fields))
        return form

    def test_asks_for_nothing_until_it_is_touched(self, form):
        assert form.asked() == {}

    def test_a_slider_that_is_moved_asks(self, form, qtbot):
        with qtbot.waitSignal(form.changed):
            form.rows["age"].slider.setSliderPosition(399)
            qtbot.keyClick(form.rows["age"].slider, Qt.Key.Key_Right)
        assert form.asked() == {"age": 40.0}
        assert form.rows["age"].number.value() == 40.0
        assert (form.rows["age"].slider.minimum(), form.rows["age"].slider.maximum()) == (200, 800)
        form.rows["age"].check_box.setChecked(False)
        assert form.asked() == {}

    def test_regions_are_added_by_name_and_taken_back(self, form, qtbot):
        volumes = form.rows["volumes"]
        qtbot.keyClicks(volumes.box.lineEdit(), "brainst")
        volumes.box.activated.emit(volumes.box.findText("Brainstem"))
        volumes.sliders["brainstem"].slider.setValue(75)
        assert form.asked() == {"volumes": {"brainstem": "75%"}}
        assert volumes.sliders["brainstem"].amount.text() == "75%: 12.5 ml"
        qtbot.mouseClick(volumes.sliders["brainstem"].remove_button, Qt.MouseButton.LeftButton)
        assert form.asked() == {}

    def test_shows_what_was_asked_and_asks_for_the_same(self, form):
        form.offer_layers([Labels(np.zeros((2, 2, 2), np.uint8), name="painted")])
        asked = {"age": 33.3, "sex": "M", "volumes": {"left caudate": "10%"}, "regions": "painted"}
        form.ask(asked)
        assert form.asked() == asked
        assert form.map_fields == ("regions",)
        form.offer_layers([])
        assert "regions" not in form.asked()

    def test_a_vector_is_a_row_of_a_table_or_entries(self, shown, tmp_path):
        seen = Numbers.of(np.arange(10.0))
        form = shown(ConditionForm())
        entries = tuple(f"e{n}" for n in range(64))
        form.set_schema(ConditionSchema(fields=(VectorField(name="embeddings", entries=entries, seen=(seen,) * 64),)))
        row = form.rows["embeddings"]
        path = tmp_path / "embeddings.tsv"
        lines = ["\t".join(["participant_id", *entries])]
        lines += ["\t".join([name, *["1"] * 64]) for name in ("sub-01", "sub-02")]
        path.write_text("\n".join(lines))
        assert form.asked() == {}
        row.table.value = path
        assert [row.rows.itemText(n) for n in range(row.rows.count())] == ["01", "02"]
        row.rows.setCurrentIndex(1)
        assert form.asked() == {"embeddings": f"{path}#02"}
        assert row.sliders.isHidden()
        for asked in ({"embeddings": {"e3": "70%"}}, {"embeddings": (0.5,) * 64}, {"embeddings": f"{path}#01"}, {}):
            form.ask(asked)
            assert form.asked() == asked
        path.write_text("participant_id\tx\nsub-01\ttall\n")
        row.table.value = path
        assert "holds text" in row.message.text()

    def test_another_model_keeps_what_both_know(self, form):
        form.ask({"age": 50.0, "sex": "F"})
        older = ScalarField(name="age", unit="years", seen=Numbers.of(np.arange(40.0, 91.0)))
        form.set_schema(ConditionSchema(fields=(older,)))
        assert form.asked() == {"age": 50.0}
        form.set_schema(ConditionSchema())
        assert form.asked() == {}
        assert form.isHidden()


class TestForms:
    def test_generate_form_asks_for_what_it_shows(self, shown):
        form = shown(GenerateForm())
        form.set_models([("nice", "nice-model", "a card"), ("mine", "/runs/mine", "")])
        assert form.request() == GenerateRequest(model="nice-model", previews=True)
        form.choose_model("/runs/mine")
        form.fields["num_samples"].value = 3
        form.fields["seed"].value = 7
        form.fields["steps"].value = 12
        form.fields["eta"].value = 0.5
        form.fields["trajectory"].value = True
        assert form.request() == GenerateRequest(
            model="/runs/mine", num_samples=3, seed=7, steps=12, eta=0.5, previews=True, trajectory=True
        )
        form.update_seed()
        assert form.fields["seed"].value == 10
        form.after_run.value = "keep"
        form.update_seed()
        assert form.fields["seed"].value == 10
        form.after_run.value = "randomize"
        form.update_seed()
        assert form.fields["seed"].value != 10

    def test_a_chosen_model_stays_and_a_new_path_is_added(self, shown, tmp_path):
        form = shown(GenerateForm())
        form.set_models([("nice", "nice", "")])
        form.choose_model(tmp_path)
        assert form.request().model == str(tmp_path)
        form.set_models([("nice", "nice", "")])
        assert form.request().model == str(tmp_path)

    def test_train_form_asks_for_what_it_shows_and_shows_what_was_asked(self, shown, tmp_path):
        form = shown(TrainForm())
        assert form.request() is None
        form.fields["data"].value = tmp_path
        assert form.request() == TrainRequest(data=tmp_path)
        asked = TrainRequest(data=tmp_path, preset="tiny", batch_size=2, epochs=1.5, validation_subjects=0)
        form.set_values(asked)
        assert form.request() == asked
        own = asked.model_copy(update={"preset": "my own"})
        form.set_values(own)
        assert form.request() == own

    def test_cohort_form_guesses_what_lies_beside(self, shown, qtbot, tmp_path):
        for folder in ("ixi/IXI-T1", "ixi/labels"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "ixi/participants.tsv").touch()
        form, told = shown(CohortForm()), []
        form.sources_changed.connect(lambda: told.append(True))
        form.fields["data_dir"].value = tmp_path / "ixi/IXI-T1"
        assert len(told) == 1  # three paths, one look
        request = form.request()
        assert request.labels == tmp_path / "ixi/labels"
        assert request.participants == tmp_path / "ixi/participants.tsv"
        assert request.out == tmp_path / "ixi/IXI-T1-2mm.zarr"
        form.fields["spacing"].value = 1.0
        assert form.request().out == tmp_path / "ixi/IXI-T1-1mm.zarr"
        form.fields["out"].value = tmp_path / "mine.zarr"
        form.fields["spacing"].value = 2.0
        assert form.request().out == tmp_path / "mine.zarr"
        form.fields["labels"].value = None
        assert len(told) == 2
        assert form.request().labels is None


@pytest.mark.parametrize("size", [0.75, 1.25, 2])
def test_voxel_sizes_are_typed_to_hundredths_of_a_millimetre(size: float, qapp: QApplication) -> None:
    field = build_widget("spacing", PrepareRequest.model_fields["spacing"], "Voxel size")
    field.native.setValue(size)
    assert field.value == size

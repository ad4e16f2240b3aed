"""What is asked reaches every level; label maps come into the model's box however they are given."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.standardise import standardise_file
from braindiffusion.diffusion.condition import Condition
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import sample_labels_path
from braindiffusion.generation.guidance import Guidance
from braindiffusion.generation.inputs import Conditions, load_label_map
from braindiffusion.models.card import ModelCard
from braindiffusion.models.cascade import Cascade
from braindiffusion.models.cascade.generator import CascadeGenerator
from braindiffusion.models.cascade.sampling import sample_cascade
from braindiffusion.models.generator import Generator
from braindiffusion.regions import group
from braindiffusion.runs import GenerateRequest
from braindiffusion.volume import box_affine, load_volume

CPU = torch.device("cpu")
SHAPE = (16, 24, 16)


def last(cascade: Cascade, condition: Condition | None, **options: object) -> torch.Tensor:
    *_, step = sample_cascade(cascade, [3], condition=condition, **options)
    return step.volume()


@pytest.fixture
def generator(told: Cascade) -> Generator:
    return CascadeGenerator(told, ModelCard())


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """A map on the model's own grid: two regions."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:9, 5:15, 4:12] = 18
    labels[9:13, 5:15, 4:12] = 40
    nib.save(nib.Nifti1Image(labels, box_affine(SHAPE, 2.0)), tmp_path / "blob.nii.gz")
    return tmp_path / "blob.nii.gz"


def test_all_that_is_asked_changes_the_brain(told: Cascade, blob: Path, generator: Generator) -> None:
    def made(asked: dict) -> torch.Tensor:
        return last(told, Conditions(GenerateRequest(anatomy="none", condition=asked), generator).tensors([1], CPU))

    unasked = made({})
    for asked in ({"age": 60}, {"sex": "M"}, {"volumes": {"brainstem": "90%"}}, {"regions": str(blob)}):
        assert float((made(asked) - unasked).abs().mean()) > 1e-4, asked
    torch.testing.assert_close(made({"age": "60"}), made({"age": 60.0}), atol=0, rtol=0)


def test_hidden_fields_are_no_condition(told: Cascade, generator: Generator) -> None:
    nothing = Conditions(GenerateRequest(anatomy="none", condition={"sex": "M"}), generator).tensors([1], CPU)
    nothing = {name: torch.full_like(t, 255 if t.dtype == torch.uint8 else torch.nan) for name, t in nothing.items()}
    torch.testing.assert_close(last(told, nothing), last(told, None), atol=0, rtol=0)


def test_a_default_is_asked_where_nothing_is(told: Cascade) -> None:
    fields = [
        field.model_copy(update={"default": "M"}) if field.name == "sex" else field
        for field in told.config.condition.fields
    ]
    schema = told.config.condition.model_copy(update={"fields": tuple(fields)})
    cascade = Cascade(told.config.model_copy(update={"condition": schema}))
    cascade.load_state_dict(told.state_dict())
    generator = CascadeGenerator(cascade, ModelCard())

    def conditions(**asked: str) -> Conditions:
        return Conditions(GenerateRequest(anatomy="none", condition=asked), generator)

    assert conditions().asked(1) == {"sex": "M"}, "the sidecar tells it"
    assert conditions().defaults(1) == ["sex"]
    assert conditions(sex="F").asked(1) == {"sex": "F"}
    assert not conditions(sex="F").defaults(1)
    unasked, asked = (last(cascade, conditions(**one).tensors([1], CPU)) for one in ({}, {"sex": "M"}))
    torch.testing.assert_close(unasked, asked, atol=0, rtol=0)


def test_guidance(told: Cascade, generator: Generator) -> None:
    condition = Conditions(GenerateRequest(anatomy="none", condition={"age": 60, "sex": "M"}), generator).tensors(
        [1], CPU
    )
    asked, unasked = last(told, condition), last(told, None)
    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(last(told, condition, hooks=[Guidance(1.0)]), asked, **close)
    torch.testing.assert_close(last(told, condition, hooks=[Guidance(0.0)]), unasked, **close)
    guided = last(told, condition, hooks=[Guidance(2.0)])
    assert float((guided - asked).abs().mean()) > 1e-4
    for other in (
        Guidance(2.0, interval=(0.1, 3.0)),
        Guidance(2.0, rescale=0.7),
        Guidance(2.0, fields=("age",)),
        Guidance(2.0, weak=generator),  # away from itself is nowhere
    ):
        assert float((last(told, condition, hooks=[other]) - guided).abs().mean()) > 1e-5, other
    torch.testing.assert_close(last(told, condition, hooks=[Guidance(2.0, weak=generator)]), asked, **close)
    torch.testing.assert_close(last(told, condition, hooks=[Guidance(2.0, interval=(900, 901))]), asked, **close)


def test_each_sample_has_its_row(told: Cascade, tmp_path: Path, generator: Generator) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("age,volumes.brainstem\n40,\n,22\n60,\n")
    request = GenerateRequest(
        anatomy="none", condition={"sex": "F", "age": 50, "volumes": {"left hippocampus": 4}}, conditions=table
    )
    conditions = Conditions(request, generator)
    assert conditions.checked(2) == {"age": 50.0, "sex": "F", "volumes": {"left hippocampus": 4.0, "brainstem": 22.0}}
    assert conditions.asked(4) == conditions.asked(1)
    batch = conditions.tensors([1, 2, 3, 4], CPU)
    assert batch["age"][:, 0].tolist() == [40, 50, 60, 40]
    assert batch["volumes"].isnan().tolist()[1] == [False, True, False]
    *_, step = sample_cascade(told, [1, 2, 3, 4], condition=batch)
    *_, alone = sample_cascade(told, [3], condition=conditions.tensors([3], CPU))
    torch.testing.assert_close(step.volume()[2], alone.volume()[0], atol=1e-4, rtol=0)
    table.write_text("age\n40\n400\n")
    with pytest.raises(BrainDiffusionError, match=r"cohort.csv, row 2: age = 400 years is far from"):
        Conditions(GenerateRequest(anatomy="none", conditions=table), generator)


def test_a_map_on_the_models_own_grid_stays_where_it_is(blob: Path) -> None:
    labels, affine = load_label_map(blob, SHAPE, 2.0)
    np.testing.assert_allclose(affine, nib.load(blob).affine)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, nib.load(blob).get_fdata())


def test_a_map_of_any_orientation_and_spacing_comes_as_brains_did(shared_data: Path, tmp_path: Path) -> None:
    path = sorted((shared_data / "ixi-2mm" / "labels").glob("*.nii.gz"))[0]
    volume = shared_data / "ixi-2mm" / "IXI-T1" / path.name.replace("_DLMUSE", "")
    box = (80, 104, 88), 2.0
    prepared = standardise_file(volume, path, Preprocessing())
    wanted = group(prepared.labels)
    assert np.array_equal(load_label_map(path, *box)[0], wanted)

    image = nib.load(path)
    halves = image.affine @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
    fine = np.asarray(image.dataobj).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    turned = nib.Nifti1Image(fine, halves).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, tmp_path / "turned.nii.gz")
    assert np.array_equal(load_label_map(tmp_path / "turned.nii.gz", *box)[0], wanted)

    grouped = nib.Nifti1Image(wanted, prepared.affine)
    nib.save(grouped, tmp_path / "grouped.nii.gz")
    assert np.array_equal(load_label_map(tmp_path / "grouped.nii.gz", *box)[0], wanted)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((20, 20, 20), 0.5, np.float32), "whole numbers"),
        (np.zeros((20, 20, 20), np.uint8), "empty"),
        (np.full((12, 12, 12), 9999, np.uint16), "9999"),
        (np.ones((60, 60, 60), np.uint8), "does not fit into the box of 32 x 48 x 32 mm"),
    ],
)
def test_what_is_no_label_map_is_told(tmp_path: Path, values: np.ndarray, said: str) -> None:
    path = tmp_path / "odd.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1])), path)
    with pytest.raises(BrainDiffusionError, match=rf"odd\.nii\.gz: .*{said}"):
        load_label_map(path, SHAPE, 2.0)


def brain_map(regions: int, edge: int) -> np.ndarray:
    """A cube of so many regions in the box of the packaged model, as slabs of one size."""
    labels = np.zeros((80, 104, 88), np.uint8)
    labels[10 : 10 + edge, 10 : 10 + edge, 10 : 10 + edge] = 1 + np.arange(edge)[:, None, None] * regions // edge
    return labels


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (brain_map(2, 12), r"it labels 2 regions and 14 ml, which is no segmentation of a whole brain"),  # painted
        (brain_map(3, 60), r"it labels 3 regions and 1728 ml"),  # tissues
        (brain_map(40, 50), r"values 1 to 40 are of another atlas"),
        (brain_map(40, 40), r"it labels 40 regions and 512 ml"),  # a part of a brain
        (np.random.default_rng(0).integers(0, 900, (80, 104, 88)).astype(np.int16), r"t2\.nii\.gz"),  # a T2w volume
        (np.random.default_rng(0).random((80, 104, 88)).astype(np.float32), "whole numbers"),
    ],
)
def test_a_map_of_no_whole_brain_is_refused(tmp_path: Path, values: np.ndarray, said: str) -> None:
    path = tmp_path / "t2.nii.gz"
    nib.save(nib.Nifti1Image(values, box_affine((80, 104, 88), 2.0)), path)
    with pytest.raises(BrainDiffusionError, match=said) as error:
        load_label_map(path, (80, 104, 88), 2.0)
    assert str(error.value).count(". ") == 0


def test_a_map_of_a_whole_brain_is_taken(tmp_path: Path) -> None:
    truth = load_volume(sample_labels_path())
    grouped = group(truth.data[0])
    nib.save(nib.Nifti1Image(grouped, truth.affine), tmp_path / "map.nii.gz")
    found, _ = load_label_map(tmp_path / "map.nii.gz", (80, 104, 88), 2.0)
    np.testing.assert_array_equal(np.bincount(found.ravel())[1:], np.bincount(grouped.ravel())[1:])

"""Inputs from public reports that were once silently wrong, as the shared `make_cases.py` makes them."""

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from braindiffusion.cohort.demographics import read_demographics
from braindiffusion.cohort.find import find, search
from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.store import Cohort
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs.segment import segment_file
from braindiffusion.runs.events import Warned
from braindiffusion.runs.requests import PrepareRequest
from braindiffusion.segmentation.files import load_segmentation_model
from braindiffusion.volume import load_volume

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def make(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the input of a case."""
    script = shared_data.parent / "cases" / "make_cases.py"
    if not script.is_file():
        pytest.skip(f"needs the shared cases: there is no {script}")
    spec = spec_from_file_location("make_cases", script)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    def case(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        module.CASES[name](folder)
        return folder

    return case


def prepared(folder: Path, **options: object) -> tuple[Cohort, str]:
    """The cohort of a case, and all that was told."""
    request = PrepareRequest.model_validate(
        {"data_dir": folder / "data", "out": folder / "x.zarr", "workers": 1, **options}
    )
    told = [event.message for event in prepare(request) if isinstance(event, Warned)]
    return Cohort.open(request.out), " | ".join(told)


def test_names(make: Callable[[str], Path]) -> None:
    absent = make("absent")
    found, passed_over = search(absent / "data")
    assert len(found) == 6
    assert [item.subject for item in found if item.problem] == ["sub-05"]
    assert not passed_over
    assert len(find(absent / "ixi")) == 3
    brats = make("brats") / "data"
    assert [len(item.paths) for item in find(brats, modality="T1,T1ce,T2,FLAIR")] == [4, 4]


def test_tables(make: Callable[[str], Path]) -> None:
    first = make("first_word")
    assert read_demographics(first / "onset.tsv").of("sub-01").age == 60
    assert read_demographics(first / "mother.csv").of("sub-01").age == 60
    units = make("age_units")
    for table in ("months.tsv", "participants.tsv"):
        assert [read_demographics(units / table).of(f"sub-0{n}").age for n in (1, 2, 3)] == [0.5, 1.5, 2.0]
    cohort, _ = prepared(make("bids_table"))
    assert [subject.age for subject in cohort.subjects] == [20, 30, 40]


def test_headers(make: Callable[[str], Path]) -> None:
    with pytest.raises(BrainDiffusionError, match="CRC"):
        load_volume(next((make("damaged_gz") / "data").iterdir()))
    found = find(make("headers") / "data")
    assert len(found) == 4
    for item in found:
        with pytest.raises(BrainDiffusionError):
            prepared(item.path.parents[1], subjects=(item.subject,))


def test_label_maps(make: Callable[[str], Path]) -> None:
    one, two = find((folder := make("two_sites")) / "data", labels=folder / "labels")
    assert one.labels is not None
    assert two.labels is not None
    assert [("siteA" in str(one.labels)), ("siteB" in str(two.labels))] == [True, True]
    folder = make("labels_elsewhere")
    with pytest.raises(BrainDiffusionError, match="No volume in "):
        prepared(folder, labels=folder / "labels")
    folder = make("labels_other_atlas")
    cohort, told = prepared(folder, labels=folder / "labels")
    assert told.count("serves as a brain mask only") == len(cohort) == 5
    folder = make("labels_scaled")
    cohort, told = prepared(folder, labels=folder / "labels")
    assert told == ""
    assert cohort.labels is not None
    assert np.asarray(cohort.labels[0]).max() == 207


def test_backgrounds(make: Callable[[str], Path]) -> None:
    folder = make("zscore")
    cohort, _ = prepared(folder)
    for volume in cohort.volumes[:]:
        assert volume[0, 0, 0, 0] == -1
        assert volume.min() == -1


def test_no_heads(make: Callable[[str], Path]) -> None:
    model = load_segmentation_model()
    for path in sorted((make("no_head") / "data").iterdir()):
        with pytest.raises(BrainDiffusionError, match="picture"):
            segment_file(model, path)


def test_wrong_units_do_not_stop_the_others(make: Callable[[str], Path]) -> None:
    folder = make("crashes")
    cohort, told = prepared(folder, data_dir=folder / "units")
    assert [subject.id for subject in cohort.subjects] == ["b_good"]
    assert "wrong units" in told
    assert len(prepared(folder, data_dir=folder / "long", out=folder / "long.zarr")[0]) == 2

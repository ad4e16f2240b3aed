"""Tables of numbers with a row a subject: read, stored with the cohort, learned from, and as conditions."""

from pathlib import Path

import numpy as np
import pytest

from braindiffusion.cohort.prepare import prepare
from braindiffusion.cohort.preprocessing import Preprocessing
from braindiffusion.cohort.store import Cohort, PreparedVolume, Subject
from braindiffusion.cohort.vectors.table import read_vector_table, read_vector_tables, with_rows
from braindiffusion.conditions import ConditionSchema
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.models.cascade.conditioning import Conditioning
from braindiffusion.models.condition_tensors import as_condition
from braindiffusion.runs.events import Warned
from braindiffusion.runs.requests import PrepareRequest
from braindiffusion.training.subject_condition import schema_of, subject_condition

SHAPE = (8, 8, 8)
TABLE = "participant_id\tmemory\tspeed\nsub-01\t1.5\t10\n2\t2.5\tn/a\nsub-03\t4\t30\n"


def write(folder: Path, text: str, name: str = "scores.tsv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def cohort_with(folder: Path, *tables: Path) -> Cohort:
    store = Cohort.create(folder / "a.zarr", Preprocessing(spacing=8.0, shape=SHAPE, skull="strip"))
    for name in ("sub-01", "sub-2", "sub-03_ses-1", "sub-04"):
        volume = np.zeros((1, *SHAPE), np.float16)
        store.put(Subject(id=name), PreparedVolume(volume, volume[0] > -1, None, np.eye(4)))
    store.finish(tables=read_vector_tables(tables))
    return Cohort.open(folder / "a.zarr")


def test_rows_are_matched_by_id_and_a_missing_row_is_unknown(tmp_path: Path) -> None:
    cohort = cohort_with(tmp_path, write(tmp_path, TABLE))
    stored = cohort.tables["scores"]
    assert stored.entries == ("memory", "speed")
    np.testing.assert_array_equal(stored.values, [[1.5, 10], [2.5, np.nan], [4, 30], [np.nan, np.nan]])


def test_tables_count_in_the_hash_of_the_cohorts_table_and_their_damage_is_seen(tmp_path: Path) -> None:
    plain = cohort_with(tmp_path)
    before = plain.table_hash
    assert plain.tables == {}
    plain = Cohort.open(plain.path, mode="r+")
    plain.finish(tables=[read_vector_table(write(tmp_path, TABLE))])
    first = plain.table_hash
    plain.finish(tables=[read_vector_table(write(tmp_path, TABLE.replace("1.5", "1.6")))])
    assert len({before, first, plain.table_hash}) == 3
    chunk = next(path for path in (plain.path / "tables" / "scores" / "c").rglob("*") if path.is_file())
    chunk.unlink()
    with pytest.raises(BrainDiffusionError, match=r"table scores of the cohort .* is damaged"):
        _ = Cohort.open(plain.path).tables


@pytest.mark.parametrize("sessions", [("01", "02"), ("1", "2"), ("ses-01", "ses-02"), ("pre", "post")])
def test_a_session_never_gets_the_row_of_another(tmp_path: Path, sessions: tuple[str, str]) -> None:
    first, second = (one.removeprefix("ses-") for one in sessions)
    text = (
        f"participant_id\tsession_id\tx\nsub-01\t{sessions[0]}\t5\nsub-02\t{sessions[0]}\t6\nsub-02\t{sessions[1]}\t7\n"
    )
    table = read_vector_table(write(tmp_path, text + "sub-03\tn/a\t8\n", "one.tsv"))
    assert table.of(f"sub-01_ses-{first}") == table.of("sub-01") == (5.0,)
    assert table.of(f"sub-01_ses-{second}") is None
    assert [table.of(f"sub-02_ses-{one}") for one in (first, second, "9")] == [(6.0,), (7.0,), None]
    assert table.of("sub-03_ses-1") == table.of("sub-03") == (8.0,)
    (told,) = table.problems(["sub-01", f"sub-01_ses-{second}"])
    assert told.startswith(f"sub-01_ses-{second}: no row in one.tsv")


def test_sessions_have_rows_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path, "participant_id,session,x\n01,1,5\n01,2,6\n02,ses-1,7\n", "one.csv")
    table = read_vector_table(path)
    assert table.entries == ("x",)
    assert [table.of(name) for name in ("sub-01_ses-1", "sub-01_ses-2", "sub-01", "sub-02")] == [
        (5.0,), (6.0,), None, (7.0,)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tx\na\t1\n", "no column of subject ids"),
        ("id\nsub-01\n", "has no numbers"),
        ("id\tx\n\t2\n \t3\n", "has no numbers"),
        ("id\tx\tsex\n1\t2\tM\n", "column 'sex' of .* holds text \\('M' in the row of 1\\)"),
        ('id\tx\n"1\n2"\tM\n', "in the row of 1 2"),
        ("id\tx\n1\tinf\n", "holds inf in the row of 1, which is no finite number"),
        ("id\tx\ty\n1\t2\tnan\n2\t3\t\n", "column 'y' of .* holds no number: remove it"),
        ("id\tx\n1\t2\n1\t3\n", "two rows of 1 that differ"),
        ("id\tx\tx\n1\t2\t3\n", "a name of its own"),
    ],
)
def test_a_bad_table_gets_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BrainDiffusionError, match=message) as told:
        read_vector_table(write(tmp_path, text))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["age.tsv", "regions.csv", "none.tsv", "1st.tsv"])
def test_the_name_of_a_condition_comes_from_the_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrainDiffusionError, match="rename the file"):
        read_vector_table(write(tmp_path, TABLE.replace("\t", "\t"), name))
    assert read_vector_table(write(tmp_path, TABLE, "my scores.v2.tsv")).name == "my_scores_v2"


def test_prepare_stores_tables_and_says_whom_they_lack(ixi: Path, tmp_path: Path) -> None:
    table = write(tmp_path, "id\tx\n2\t1\n12\t2\n", "embeddings.tsv")
    request = PrepareRequest(
        data_dir=ixi / "IXI-T1", out=tmp_path / "out.zarr", table=(table,), spacing=8, shape=(24, 32, 24), workers=1
    )
    told = [event.message for event in prepare(request) if isinstance(event, Warned)]
    assert any("IXI101-IOP-0761: no row in embeddings.tsv" in one for one in told)
    np.testing.assert_array_equal(Cohort.open(request.out).tables["embeddings"].values, [[1], [2], [np.nan]])
    strangers = request.model_copy(update={"table": (write(tmp_path, "id\tx\n77\t1\n", "other.tsv"),)})
    with pytest.raises(BrainDiffusionError, match="no row of any of the subjects"):
        list(prepare(strangers))
    list(prepare(request.model_copy(update={"table": ()})))
    assert Cohort.open(request.out).tables == {}


@pytest.fixture
def schema(tmp_path: Path) -> ConditionSchema:
    return schema_of(cohort_with(tmp_path, write(tmp_path, TABLE)), [0, 1, 2])


def test_a_table_is_a_condition_that_training_takes_by_default(tmp_path: Path, schema: ConditionSchema) -> None:
    cohort = Cohort.open(tmp_path / "a.zarr")
    assert schema.names == ("scores",)
    assert subject_condition(schema, cohort, 1, None)["scores"].tolist()[0][0] == 2.5
    assert np.isnan(subject_condition(schema, cohort, 3, None)["scores"].numpy()).all()
    assert schema_of(cohort, [0, 1, 2], ["scores"]) == schema
    with pytest.raises(BrainDiffusionError, match=r"choose among .*scores"):
        schema_of(cohort, [0, 1], ["embeddings"])
    assert schema_of(cohort, [0, 3]).names == ()  # one known subject does not vary


def test_a_row_a_vector_and_entries_are_the_same_condition(tmp_path: Path, schema: ConditionSchema) -> None:
    path = tmp_path / "scores.tsv"
    by_row = schema.check(with_rows(schema, {"scores": f"{path}#sub-03"}))
    assert by_row == {"scores": (4.0, 30.0)}
    asked = [by_row, schema.check({"scores": (4, 30)}), schema.check({"scores": "4,30"}),
             schema.check({"scores": {"memory": 4, "speed": "100%"}})]  # fmt: skip
    tensors = [as_condition(schema, one, SHAPE)["scores"].tolist() for one in asked]
    assert tensors == [[[4.0, 30.0]]] * 4
    unknown = as_condition(schema, schema.check(with_rows(schema, {"scores": f"{path}#2"})), SHAPE)["scores"]
    assert np.isnan(unknown[0, 1].item())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{}", "has 3 rows: name one, as in scores=scores.tsv#01"),
        ("{}#9", "no row of 9: its ids are like 01"),
        ("no.tsv#9", "no table at"),
        ((1.0, 2.0, 3.0), "or 2 numbers, or a row of a table"),
        ("1,two", "one of these is none"),
        ((1.0, 1e6), "standard deviations from its mean"),
    ],
)
def test_what_is_no_row_gets_one_sentence(
    tmp_path: Path, schema: ConditionSchema, value: str | tuple[float, ...], message: str
) -> None:
    asked = value.format(tmp_path / "scores.tsv") if isinstance(value, str) else value
    with pytest.raises(BrainDiffusionError, match=message):
        schema.check(with_rows(schema, {"scores": asked}))


def test_a_table_may_be_named_as_something_of_pytorch(tmp_path: Path) -> None:
    schema = schema_of(cohort_with(tmp_path, write(tmp_path, TABLE, "values.tsv")), [0, 1, 2])
    module = Conditioning(schema, 8, map_width=4, map_places=1, voxels=1)
    told, _ = module(as_condition(schema, {"values": (1.0, 2.0)}, SHAPE))
    assert told is not None
    assert told.shape == (1, 8)

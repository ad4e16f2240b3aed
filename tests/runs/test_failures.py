"""Each failure in a sentence that says what to do."""

import errno
import shutil
from pathlib import Path

import pytest
import torch

from braindiffusion.runs import EvaluateRequest, GenerateRequest, Request, Run, TrainRequest
from braindiffusion.runs.failures import explain
from braindiffusion.runs.requests import TrainSegmentationRequest


def said(error: Exception, request: Request, root: Path) -> str:
    return explain(error, Run.create(request, root))


@pytest.fixture
def train(tmp_path: Path) -> TrainRequest:
    (tmp_path / "data").mkdir()
    return TrainRequest(data=tmp_path / "data", batch_size=8)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_no_memory_for_a_training(error: Exception, train: TrainRequest, tmp_path: Path) -> None:
    message = said(error, train, tmp_path / "runs")
    for advice in ("smaller batch size (now 8)", "smaller patches", "gradient checkpointing", "last checkpoint"):
        assert advice in message
    on_a_gpu = any(word in str(error) for word in ("CUDA", "CUDNN", "MPS"))
    assert ("uses this GPU" in message) == on_a_gpu
    assert ("close other programs" in message) != on_a_gpu


def test_what_is_done_already_is_not_advised(train: TrainRequest, tmp_path: Path) -> None:
    request = train.model_copy(update={"checkpointing": True})
    assert "checkpointing" not in said(MemoryError(), request, tmp_path / "runs").split("(details")[0]
    assert "take 1" in said(MemoryError(), GenerateRequest(batch_size=4), tmp_path / "runs")
    assert "batch" not in said(MemoryError(), GenerateRequest(), tmp_path / "runs").split("(details")[0]
    reader = TrainSegmentationRequest(data=train.data)
    assert "window" in said(MemoryError(), reader, tmp_path / "runs")


def test_a_full_disk_in_whatever_words(train: TrainRequest, tmp_path: Path) -> None:
    hidden = ValueError("cannot save")
    hidden.__cause__ = RuntimeError("I/O error: No space left on device (os error 28)")
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota"), hidden):
        message = said(error, train, tmp_path / "runs")
        assert message.startswith("The disk is full")
        assert "goes on from there" in message


def test_folders_that_vanish(train: TrainRequest, tmp_path: Path) -> None:
    run = Run.create(train, tmp_path / "runs")
    shutil.rmtree(train.data)
    assert explain(FileNotFoundError("c/0/0"), run).startswith(f"{train.data} has gone")
    shutil.rmtree(run.path)
    assert explain(KeyError("x"), run).startswith(f"The run folder {run.path} has gone")
    request = EvaluateRequest(real=(tmp_path / "real",), generated=(tmp_path,))
    assert said(OSError("x"), request, tmp_path / "runs").startswith(f"{tmp_path / 'real'} has gone")


def test_a_bug_whose_traceback_cannot_be_written(
    train: TrainRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.create(train, tmp_path / "runs")
    run.error_file.mkdir()
    assert "its traceback is in the terminal" in explain(KeyError("x"), run)
    assert capsys.readouterr().err == "KeyError: 'x'\n"

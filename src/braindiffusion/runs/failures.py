"""Errors in one sentence that says what to do. Torch is not imported: where it never was, it raised nothing."""

import errno
import sys
import traceback
from collections.abc import Iterator

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.outputs import input_paths
from braindiffusion.runs.folder import Run
from braindiffusion.runs.requests import GenerateRequest, TrainRequest, TrainSegmentationRequest

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# safetensors and torch hide the system's error in their own words.
_FULL_WORDS = ("No space left on device", "os error 28", "Disk quota exceeded", "os error 122")
_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "CUDNN_STATUS_ALLOC_FAILED")


def explain(error: Exception, run: Run) -> str:
    """Return one sentence for the user. An unexpected error keeps its traceback in the run folder."""
    if isinstance(error, BrainDiffusionError):
        return str(error)
    if not run.path.is_dir():
        return (
            f"The run folder {run.path} has gone (deleted, renamed, or its disk was taken away): nothing more can be "
            "kept there. Bring it back and resume, or start again."
        )
    if full := next((one for one in _chain(error) if _is_full(one)), None):
        return (
            f"The disk is full ({getattr(full, 'filename', None) or run.path}): make room and start the run again. "
            "What was kept before is whole, and it goes on from there."
        )
    if closed := next((one for one in _chain(error) if isinstance(one, OSError) and one.errno in _CLOSED), None):
        where = closed.filename or run.path
        return f"{where} cannot be written or read ({closed.strerror}): choose another place."
    details = _keep_traceback(error, run)
    if lost := next((path for path in input_paths(run.request) if not path.exists()), None):
        return f"{lost} has gone since the run began: bring it back and start the run again."
    if any(_is_out_of_memory(one) for one in _chain(error)):
        return f"There is not enough memory for this; {_advice(error, run)}{details and f' (details in {details})'}."
    what = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    return f"BrainDiffusion met a bug ({what}); its traceback is in {details or 'the terminal'}."


def _advice(error: Exception, run: Run) -> str:
    """Return what would need less memory, for a request."""
    request = run.request
    others = (
        "close what else uses this GPU, or run on the CPU"
        if any(word in str(error) for word in ("CUDA", "CUDNN", "MPS"))
        else "close other programs"
    )
    match request:
        case TrainRequest():
            batch = f"a smaller batch size (now {request.batch_size})" if request.batch_size else "a smaller batch size"
            less = [batch, "a preset with smaller patches"]
            less += [] if request.checkpointing else ["gradient checkpointing (slower, but much less memory)"]
            return f"take {', '.join(less[:-1])} or {less[-1]}; and {others}. Resume goes on from the last checkpoint"
        case TrainSegmentationRequest():
            return f"take a smaller batch size (now {request.batch_size}) or window; and {others}"
        case GenerateRequest() if request.batch_size > 1:
            return f"make fewer at once (batch size {request.batch_size}: take 1); and {others}"
        case _:
            return others


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_full(error: BaseException) -> bool:
    return (isinstance(error, OSError) and error.errno in _FULL) or any(word in str(error) for word in _FULL_WORDS)


def _is_out_of_memory(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    # torch's CPU and MPS allocators and cuDNN have no class of their own
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def _keep_traceback(error: Exception, run: Run) -> str:
    """Write the traceback, and return where it is; print it where it cannot be written, and return nothing."""
    text = "".join(traceback.format_exception(error))
    try:
        run.error_file.write_text(text)
    except OSError:
        sys.stderr.write(text)
        return ""
    return str(run.error_file)

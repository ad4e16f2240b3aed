"""The requests: what each job can be asked, the same for the command line, the plugin and a script."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.requests.base import BaseRequest
from braindiffusion.runs.requests.cohort import InspectRequest, PrepareRequest
from braindiffusion.runs.requests.editing import AnomalyRequest, EditRequest
from braindiffusion.runs.requests.evaluation import DifferenceRequest, EvaluateRequest, NearestRequest
from braindiffusion.runs.requests.figures import FigureName, VisualizeRequest
from braindiffusion.runs.requests.generation import DemoRequest, GenerateRequest, PreviewRequest, RegenerateRequest
from braindiffusion.runs.requests.segmentation import SegmentRequest
from braindiffusion.runs.requests.synthesis import SynthesizeRequest
from braindiffusion.runs.requests.training import DistillRequest, TrainRequest, TrainSegmentationRequest


class EstimateRequest(BaseRequest):
    """Estimate time and memory of a training or a generation on this device, without starting it."""

    job: Literal["estimate"] = "estimate"
    of: TrainRequest | GenerateRequest = Field(discriminator="job", title="Request")
    """The training or the generation."""


Request = Annotated[
    PrepareRequest
    | InspectRequest
    | TrainRequest
    | TrainSegmentationRequest
    | DistillRequest
    | SegmentRequest
    | GenerateRequest
    | PreviewRequest
    | RegenerateRequest
    | EditRequest
    | SynthesizeRequest
    | AnomalyRequest
    | EvaluateRequest
    | NearestRequest
    | DifferenceRequest
    | VisualizeRequest
    | EstimateRequest
    | DemoRequest,
    Field(discriminator="job"),
]

R = TypeVar("R", bound=BaseRequest)


def label(kind: type[BaseRequest], name: str) -> str:
    """Return the label of a field, as forms show it and messages name it."""
    return kind.model_fields[name].title or name.replace("_", " ").capitalize()


def make_request(kind: type[R], **fields: object) -> R:
    """Return a request.

    Raises:
        BrainDiffusionError: a field is out of range or unknown; it names the field by its label, and carries its name.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        title = label(kind, name) if name in kind.model_fields else name
        msg = f"{title}: {first['msg'].removeprefix('Value error, ')} (was {first['input']!r})."
        raise BrainDiffusionError(msg, field=name) from error


__all__ = [
    "AnomalyRequest",
    "BaseRequest",
    "DemoRequest",
    "DifferenceRequest",
    "DistillRequest",
    "EditRequest",
    "EstimateRequest",
    "EvaluateRequest",
    "FigureName",
    "GenerateRequest",
    "InspectRequest",
    "NearestRequest",
    "PrepareRequest",
    "PreviewRequest",
    "RegenerateRequest",
    "Request",
    "SegmentRequest",
    "SynthesizeRequest",
    "TrainRequest",
    "TrainSegmentationRequest",
    "VisualizeRequest",
    "label",
    "make_request",
]

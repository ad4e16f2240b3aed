"""The requests: what each job can be asked, the same for the command line, the plugin and a script."""

from typing import Annotated, Literal

from pydantic import Field

from braindiffusion.runs.requests.base import BaseRequest
from braindiffusion.runs.requests.cohort import InspectRequest, PrepareRequest
from braindiffusion.runs.requests.evaluation import DifferenceRequest, EvaluateRequest, NearestRequest
from braindiffusion.runs.requests.figures import FigureName, VisualizeRequest
from braindiffusion.runs.requests.generation import DemoRequest, GenerateRequest, PreviewRequest, RegenerateRequest
from braindiffusion.runs.requests.segmentation import ReadRequest
from braindiffusion.runs.requests.training import TrainReaderRequest, TrainRequest


class EstimateRequest(BaseRequest):
    """Estimate time and memory of a training or a generation on this device, without starting it."""

    job: Literal["estimate"] = "estimate"
    of: TrainRequest | GenerateRequest = Field(discriminator="job", title="Request")
    """The training or the generation."""


Request = Annotated[
    PrepareRequest
    | InspectRequest
    | TrainRequest
    | TrainReaderRequest
    | ReadRequest
    | GenerateRequest
    | PreviewRequest
    | RegenerateRequest
    | EvaluateRequest
    | NearestRequest
    | DifferenceRequest
    | VisualizeRequest
    | EstimateRequest
    | DemoRequest,
    Field(discriminator="job"),
]

__all__ = [
    "BaseRequest",
    "DemoRequest",
    "DifferenceRequest",
    "EstimateRequest",
    "EvaluateRequest",
    "FigureName",
    "GenerateRequest",
    "InspectRequest",
    "NearestRequest",
    "PrepareRequest",
    "PreviewRequest",
    "ReadRequest",
    "RegenerateRequest",
    "Request",
    "TrainReaderRequest",
    "TrainRequest",
    "VisualizeRequest",
]

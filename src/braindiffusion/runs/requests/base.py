"""The base class of the requests, and the fields that several of them share.

A request is the one definition of what a job can be asked. The docstring under a field is its help (tooltip, `--help`,
reference page), `title` its label in a form, the constraints its bounds. Where an output is None, the result lies in
the run's own `results` folder. Extra hints, all optional:

`cli`
    The flags of the field, the first is the one that is written; `--name-of-the-field` where there are none.
`positional`
    On the command line the value stands without a flag.
`cli_default`
    The default on the command line, where it differs from that of the field.
`choices`
    Values to offer, with a sentence on each where they need one. Others are possible, unless the type says otherwise.
`unit`
    The unit of a number.
`decimals`
    How many digits after the point a form takes.
`path`
    The text may be the path of a file or folder.
`advanced`
    Few users need it: a form may hide it behind a button.
"""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class BaseRequest(BaseModel):
    """A request. Field names are written to disk."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    command: ClassVar[str] = ""
    """Name of the command, where it is not that of the job."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Take the docstrings under the fields as their descriptions, before those of types that fields share.

        As pydantic's `use_attribute_docstrings`, which looks for the source of each class among all modules that are
        loaded: with napari's, 30 ms a class.
        """
        for name, text in _docstrings(cls.__module__).get(cls.__qualname__, {}).items():
            if name in cls.model_fields:
                cls.model_fields[name].description = text


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings under the fields of a module's classes, by the name of the class and of the field."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError):  # typed into a console
        return {}
    found: dict[str, dict[str, str]] = {}
    for kind in ast.parse(source).body:
        if isinstance(kind, ast.ClassDef):
            fields = found.setdefault(kind.name, {})
            for field, said in pairwise(kind.body):
                match field, said:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        fields[name] = inspect.cleandoc(text)
    return found


Asked = Annotated[
    float | str | dict[str, float | str] | tuple[float | None, ...],
    BeforeValidator(lambda value: value.tolist() if hasattr(value, "tolist") else value),  # arrays
]
"""Value of a condition, see `braindiffusion.conditions.Value`."""


def _known_to_torch(seed: int) -> int:
    """Refuse a seed that has more than 63 bits, which generators of torch do not take."""
    if seed >= 2**63:
        msg = f"A seed is at most {2**63 - 1}"
        raise ValueError(msg)
    return seed


Seed = Annotated[
    int,
    Field(
        ge=0, title="Seed", description="Seed of every random number: the same seed and request give the same result."
    ),
    AfterValidator(_known_to_torch),
]
Device = Annotated[
    str,
    Field(
        title="Device",
        description="Where to compute: `auto` takes CUDA, else Apple's MPS, else the CPU.",
        json_schema_extra={"choices": ["auto", "cpu", "cuda", "mps"], "advanced": True},
    ),
]
Content = Literal["image", "regions"]
"""What a model generates: images, or region maps."""
Precision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Field(
        title="Precision",
        description="Arithmetic of the network; `auto` takes bfloat16 if the device is faster with it, else float32.",
        json_schema_extra={"advanced": True},
    ),
]
DataFolder = Annotated[
    Path,
    Field(
        title="Folder",
        description="Folder of volumes: IXI as published, a BIDS dataset, or any folder of NIfTI or MGH files.",
        json_schema_extra={"positional": True},
    ),
]
LabelFolder = Annotated[
    Path | None,
    Field(
        title="Label maps",
        description="Folder of region label maps (DLMUSE's or FreeSurfer's), matched to the volumes by subject.",
    ),
]
Participants = Annotated[
    Path | None,
    Field(
        title="Participants file",
        description="`IXI.xls`, or a table (`.tsv`, `.csv`, `.xls`) with columns for id, age, sex and site; by default "
        "the `participants.tsv`, `participants.csv` or `IXI.xls` in the folder of volumes or beside it.",
    ),
]
Modality = Annotated[
    str,
    Field(
        title="Modality",
        description="Modality of the volumes to take. `T1,T2,PD` makes them the channels of one volume per subject; "
        "`T1/T2/PD` makes each a volume of its own, and the modality a condition of the model.",
        json_schema_extra={"choices": ["T1", "T2", "PD", "T1,T2,PD", "T1,T2,FLAIR,T1ce", "T1/T2/PD"]},
    ),
]
Workers = Annotated[
    int,
    Field(
        ge=0,
        title="Worker processes",
        description="Number of parallel processes; 0 takes one per processor core.",
        json_schema_extra={"advanced": True},
    ),
]
Overwrite = Annotated[
    bool,
    Field(
        title="Overwrite",
        description="Overwrite existing files that BrainDiffusion did not write, or that were changed since. Inputs "
        "are never overwritten.",
        json_schema_extra={"advanced": True},
    ),
]
RealBrains = Annotated[
    tuple[Path, ...],
    Field(
        min_length=1,
        title="Real brains",
        description="Real brains: prepared cohorts (`.zarr`), folders of volumes, or volumes.",
    ),
]
JudgedModel = Annotated[
    str | None,
    Field(
        title="Model",
        description="The model whose card lists the training subjects and the held-out ones; by default the packaged "
        "model that the sidecars of the generated volumes name.",
        json_schema_extra={"path": True},
    ),
]
RealLabels = Annotated[
    Path | None,
    Field(
        title="Label maps",
        description="Folder of region label maps of the real volumes, matched by file name.",
    ),
]


def by_level(numbers: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
    """Check sampling steps, one number for all levels or one for each; a single one stands for all."""
    if numbers is None:
        return None
    each = (numbers,) if isinstance(numbers, int) else numbers
    if min(each, default=0) < 1:
        msg = "Each level needs at least 1 step"
        raise ValueError(msg)
    return each if len(each) > 1 else each[0]

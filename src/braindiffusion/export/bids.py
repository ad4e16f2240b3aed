"""A BIDS dataset of brains (Gorgolewski et al. 2016, https://bids-specification.readthedocs.io).

```
dataset_description.json   participants.tsv, .json   README.md
sub-gen001/anat/sub-gen001_T1w.nii.gz, .json
derivatives/braindiffusion/dataset_description.json
derivatives/braindiffusion/sub-gen001/anat/sub-gen001_dseg.nii.gz      region labels
derivatives/braindiffusion/dseg.tsv                                    their names
```
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from braindiffusion import __version__
from braindiffusion.cohort.demographics import Demographics
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.example_data import region_names
from braindiffusion.export.brains import Brain
from braindiffusion.export.participants import participants
from braindiffusion.files import write_whole
from braindiffusion.runs.sidecar import is_generated
from braindiffusion.volume import load_volume, read_header, save_volume

BIDS_VERSION = "1.10.0"
DERIVATIVE = "braindiffusion"


def write_bids(
    brains: Sequence[Brain], out: Path, *, name: str = "Brains", people: Demographics | None = None
) -> Iterator[Path]:
    """Write a dataset.

    Args:
        brains: what to write, at least one; see `brains_in`.
        out: folder of the dataset; new, or empty.
        name: name of the dataset.
        people: age and sex of real subjects. Those of generated ones are the conditions in the sidecar.

    Yields:
        The volume of each brain, as it is written.

    Raises:
        BrainDiffusionError: there are no brains, the folder holds something, a volume cannot be read, or the disk is
            full.
    """
    out = Path(out).expanduser().absolute()
    if not brains:
        raise BrainDiffusionError("There are no brains to export: choose some first.")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BrainDiffusionError(f"{out} holds something already: a dataset needs a new or an empty folder.")
        out.mkdir(parents=True, exist_ok=True)
        _describe(out, name, "raw")
        _readme(out, name, brains)
        table, columns = participants(brains, people)
        write_whole(out / "participants.tsv", table)
        write_whole(out / "participants.json", _json(columns))
        if any(brain.labels for brain in brains):
            derivative = out / "derivatives" / DERIVATIVE
            derivative.mkdir(parents=True)
            _describe(derivative, f"{name}: regions", "derivative")
            names = "".join(f"{index}\t{region}\n" for index, region in region_names().items())
            write_whole(derivative / "dseg.tsv", f"index\tname\n{names}")
        seen: Counter[str] = Counter()
        for brain in brains:
            yield _write(brain, out, seen)
    except OSError as error:
        where = error.filename or out
        msg = f"{where} cannot be written ({error.strerror}): free some space or choose another folder."
        raise BrainDiffusionError(msg) from error


def _write(brain: Brain, out: Path, seen: Counter[str]) -> Path:
    """Write a volume with its sidecar, and its labels."""
    entities = f"sub-{brain.subject}" + (f"_ses-{brain.session}" if brain.session else "")
    folder = Path(*entities.split("_")) / "anat"
    seen[f"{entities}_{brain.suffix}"] += 1
    if (times := seen[f"{entities}_{brain.suffix}"]) > 1:
        entities += f"_run-{times}"
    target = out / folder / f"{entities}_{brain.suffix}.nii.gz"
    _place(brain.path, target)
    told: dict[str, Any] = {"Modality": "MR", **brain.told}
    if is_generated(brain.told):
        told |= {"SkullStripped": bool(brain.told.get("background_cleared")), "file": target.name}
    write_whole(target.with_name(f"{entities}_{brain.suffix}.json"), _json(told))
    if brain.labels is not None:
        _place(brain.labels, out / "derivatives" / DERIVATIVE / folder / f"{entities}_dseg.nii.gz")
    return target


def _place(source: Path, target: Path) -> None:
    """Copy a volume where it is in the format of BIDS already; write it anew otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name.endswith(".nii.gz"):
        read_header(source)  # what is no volume ends here
        shutil.copyfile(source, target)
    else:
        save_volume(load_volume(source), target)


def _describe(folder: Path, name: str, kind: str) -> None:
    description = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "BrainDiffusion", "Version": __version__}],
    }
    write_whole(folder / "dataset_description.json", _json(description))


def _readme(out: Path, name: str, brains: Sequence[Brain]) -> None:
    made = sum(is_generated(brain.told) for brain in brains)
    text = f"# {name}\n\n{len(brains)} volumes, written by BrainDiffusion {__version__}.\n"
    if made:
        text += (
            f"\n{made} of them are synthetic: generated by a diffusion model, of no real person. The column "
            "`synthetic` of `participants.tsv` marks them, and their sidecars say how to generate each of them again.\n"
        )
    write_whole(out / "README.md", text)


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"

"""A BIDS dataset of brains (Gorgolewski et al. 2016, https://bids-specification.readthedocs.io).

```
dataset_description.json   participants.tsv, .json   README.md
sub-gen001/anat/sub-gen001_T1w.nii.gz, .json
derivatives/braindiffusion/dataset_description.json
derivatives/braindiffusion/sub-gen001/anat/sub-gen001_dseg.nii.gz      region labels
derivatives/braindiffusion/dseg.tsv, .json                             their names, where the scheme is known
```
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from braindiffusion import __version__
from braindiffusion.cohort.demographics import Demographics
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.export.brains import EDITED, Brain
from braindiffusion.export.identity import place, shareable
from braindiffusion.export.label_names import names_of_labels
from braindiffusion.export.participants import participants
from braindiffusion.files import write_whole
from braindiffusion.runs.durations import counted
from braindiffusion.untrusted import cell

BIDS_VERSION = "1.10.0"
DERIVATIVE = "braindiffusion"
DSEG = {
    "Manual": False,
    "index": {"Description": "Value in the label map."},
    "name": {"Description": "Name of the region."},
}
"""What is true of all label maps, and the columns of the table of their names."""


def write_bids(
    brains: Sequence[Brain], out: Path, *, name: str = "Brains", people: Demographics | None = None
) -> Iterator[Path]:
    """Write a dataset that can be shared.

    Of scans, free text and extensions of the headers are left out, and of sidecars all but the acquisition (see
    `braindiffusion.export.identity`); what is left out stands in the README of the dataset. Voxels are unchanged.

    Args:
        brains: what to write, at least one; see `brains_in`.
        out: folder of the dataset; new, or empty.
        name: name of the dataset.
        people: age and sex of real subjects. Those of generated ones are the conditions in the sidecar.

    Yields:
        The volume of each brain, as it is written.

    Raises:
        BrainDiffusionError: there are no brains, the folder holds something, a volume cannot be read, or the disk is
            full; or label maps of different schemes.
    """
    out = Path(out).expanduser().absolute()
    if not brains:
        raise BrainDiffusionError("There are no brains to export: choose some first.")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BrainDiffusionError(f"{out} holds something already: a dataset needs a new or an empty folder.")
        for path, content in tables(brains, name=name, people=people, regions=names_of_labels(brains)).items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / path, content)
        seen: Counter[str] = Counter()
        for brain in brains:
            yield write_brain(brain, out, seen)
    except OSError as error:
        where = error.filename or out
        msg = f"{where} cannot be written ({error.strerror}): free some space or choose another folder."
        raise BrainDiffusionError(msg) from error


def tables(
    brains: Sequence[Brain],
    *,
    name: str = "Brains",
    people: Demographics | None = None,
    regions: Mapping[int, str] | None = None,
    columns: Mapping[str, str] | None = None,
    how: str = "",
) -> dict[Path, str]:
    """Return all files of a dataset but those of its subjects: their paths in the dataset, and their contents.

    Args:
        brains: all brains of the dataset.
        name: name of the dataset.
        people: age and sex of real subjects.
        regions: names of the values of the label maps; none where they are not known.
        columns: fields of the sidecars that have a column in the participants table, too, with the descriptions of
            these.
        how: how the dataset was made, for its description.
    """
    table, described = participants(brains, people, columns or {})
    files = {
        Path("dataset_description.json"): _description(name, "raw", how),
        Path("README.md"): _readme(name, brains),
        Path("participants.tsv"): table,
        Path("participants.json"): _json(described),
    }
    if any(brain.labels for brain in brains):
        derivative = Path("derivatives", DERIVATIVE)
        files[derivative / "dataset_description.json"] = _description(f"{name}: regions", "derivative", how)
        files[derivative / "dseg.json"] = _json(DSEG)
        if regions:
            names = "".join(f"{index}\t{region}\n" for index, region in regions.items())
            files[derivative / "dseg.tsv"] = f"index\tname\n{names}"
    return files


def write_brain(brain: Brain, out: Path, seen: Counter[str]) -> Path:
    """Write the labels of a brain, its volume and last its sidecar. Return the path of the volume.

    Args:
        brain: the brain.
        out: folder of the dataset.
        seen: names that were written before, which is updated: a second volume of one name is another run.

    Raises:
        BrainDiffusionError: a volume cannot be read.
        OSError: a file cannot be written.
    """
    entities = f"sub-{brain.subject}" + (f"_ses-{brain.session}" if brain.session else "")
    folder = Path(*entities.split("_")) / "anat"
    agent, _, suffix = brain.suffix.rpartition("_")
    entities += f"_{agent}" if agent else ""
    seen[f"{entities}_{suffix}"] += 1
    if (times := seen[f"{entities}_{suffix}"]) > 1:
        entities += f"_run-{times}"
    target = out / folder / f"{entities}_{suffix}.nii.gz"
    if brain.labels is not None:
        name = _labels_name(brain.labels, entities, suffix, seen)
        place(brain.labels, out / "derivatives" / DERIVATIVE / folder / f"{name}.nii.gz")
    place(brain.path, target)
    content: dict[str, Any] = {"Modality": "MR", **shareable(brain.sidecar)[0]}
    if brain.synthetic:
        stripped = bool(brain.sidecar.get("background_cleared"))
        content |= {"synthetic": True, "SkullStripped": stripped, "file": target.name}
    elif brain.edited:
        content |= {"synthetic": EDITED}
    write_whole(target.with_name(f"{entities}_{suffix}.json"), _json(content))
    return target


def _labels_name(labels: Path, entities: str, modality: str, seen: Counter[str]) -> str:
    """Return the name of a label map: with `desc` if an earlier volume of these entities has another map."""
    name = f"{entities}_dseg"
    mine = f"{name} {labels.absolute()}"
    if seen[name] and not seen[mine]:
        return f"{entities}_desc-{modality}_dseg"
    seen[name] = seen[mine] = 1
    return name


def _description(name: str, kind: str, how: str) -> str:
    software = {"Name": "BrainDiffusion", "Version": __version__} | ({"Description": how} if how else {})
    return _json(
        {
            "Name": name,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": kind,
            "GeneratedBy": [software],
        }
    )


def _readme(name: str, brains: Sequence[Brain]) -> str:
    made = sum(brain.synthetic is True for brain in brains)
    edited = sum(brain.edited for brain in brains)
    unknown = sum(brain.synthetic is None and not brain.edited for brain in brains)
    text = f"# {name}\n\n{counted(len(brains), 'volume')}, written by BrainDiffusion {__version__}.\n"
    if made:
        text += (
            f"\nSynthetic, generated by a diffusion model, of no real person: {made}. The column `synthetic` of "
            "`participants.tsv` marks them, and their sidecars say how to generate each of them again.\n"
        )
    if edited:
        text += (
            f"\nEdited scans, in which a diffusion model generated a part of the brain, or changed it: {edited}. "
            "They are marked `part` in that column, and in their sidecars.\n"
        )
    if unknown:
        text += (
            f"\nWithout a word in sidecar or header on whether they are synthetic: {unknown}, `n/a` in that column.\n"
        )
    return text + "".join(f"\n{sentence}\n" for sentence in privacy(brains))


def privacy(brains: Sequence[Brain]) -> list[str]:
    """Return sentences on what of the scans is not exported, and on what may still identify a person."""
    scans = [brain for brain in brains if not brain.synthetic]
    if not scans:
        return []
    fields = sorted({name for brain in scans for name in shareable(brain.sidecar)[1]})
    return [
        "Left out of the scans: free text and extensions of the headers"
        + (f"; of the sidecars {cell(', '.join(fields))}." if fields else "."),
        "Voxels and the names of the subjects are unchanged: remove faces and rename subjects before you share them.",
    ]


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"

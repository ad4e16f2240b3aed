"""Find the volumes of a folder: IXI as it is published, a BIDS dataset, or plain files.

Only names are read, no file is opened.
"""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from braindiffusion.cohort.preprocessing import SPELLINGS, Modalities, modality_name
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs.durations import listed
from braindiffusion.runs.sidecar import volume_stem

SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img.gz", ".img")
"""Suffixes of volumes; of a NIfTI pair the `.img` is taken."""
IXI_SITES = ("Guys", "HH", "IOP")

_IXI = re.compile(
    r"(?P<subject>IXI\d+-(?P<site>[A-Za-z]+)-\d+)[-_](?P<modality>T1|T2|PD|MRA)w?(?:_brain)?$", re.IGNORECASE
)
_BIDS = re.compile(
    r"(?P<subject>sub-[A-Za-z0-9-]+)(?:_(?P<session>ses-[A-Za-z0-9]+))?(?:_[a-z]+-[A-Za-z0-9]+)*_(?P<modality>[A-Za-z0-9]+)$"
)
_CONTRAST = re.compile(rf"(?P<subject>.+?)[-_. ](?P<modality>{'|'.join(SPELLINGS)})(?:_brain)?$", re.IGNORECASE)
_LABELS = re.compile(r".+[-_. ](seg|dseg|segmentation|labels?|mask|regions|aparc\+aseg|aseg|wmparc)$", re.IGNORECASE)
_SCANS = frozenset(map(modality_name, SPELLINGS)) | {"bold", "dwi", "sbref", "epi", "T2star", "angio", "UNIT1"}
"""Modalities that are no label maps."""
_BESIDE = ("_trajectory", "_preview")
"""Ends of the names of images that `generate` writes beside a brain."""
Naming = Literal["standard", "contrast", "labels", "none"]
"""How a file is named: as IXI or BIDS do, by its contrast, as a label map, or in no known way."""
MOST_NAMED = 3
"""File names that a sentence lists."""


@dataclass(frozen=True)
class Found:
    """A subject's volume, and what the names say about it.

    Attributes:
        subject: id, such as `IXI012-HH-1211`, `sub-01`, `sub-01_ses-02`, or the name of a plain file.
        path: the volume; of several channels the first.
        modality: `T1`, `T2`, `PD`, ... (of channels all, `T1,T2`), or None where the name does not tell.
        site: of IXI: Guys, HH or IOP.
        labels: its region label map.
        problem: why it cannot be used; empty if nothing speaks against it.
        others: the volumes of the further channels, in order.
        lacks_labels: the problem is that it has no label map, or several.
    """

    subject: str
    path: Path
    modality: str | None = None
    site: str | None = None
    labels: Path | None = None
    problem: str = ""
    others: tuple[Path, ...] = ()
    lacks_labels: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The volumes of all channels, in order."""
        return (self.path, *self.others)

    @property
    def person(self) -> str:
        """Id of the person: sessions of one person have the same."""
        return self.subject.split("_ses-")[0]


def find(data_dir: Path, *, modality: str | None = "T1", labels: Path | None = None) -> list[Found]:
    """Return the volumes of a folder, as `search` finds them."""
    return search(data_dir, modality=modality, labels=labels)[0]


def search(data_dir: Path, *, modality: str | None = "T1", labels: Path | None = None) -> tuple[list[Found], list[str]]:
    """Find the volumes of a folder and its sub-folders, linked ones too.

    Where files are named as IXI or BIDS name them, only these are taken, and only if they are of the modality. In any
    other folder a last word such as `_t1`, `_T2w`, `_flair` or `-t1ce` tells the modality, the rest is the subject;
    a volume without one is taken for the one modality that is asked for, and one with `_seg` or `_mask` is none. Of
    several volumes of one subject and modality the first by path is usable, the others have a problem. So does a link
    that leads nowhere.

    Args:
        data_dir: IXI folder, BIDS dataset, or any folder of NIfTI or MGH files.
        modality: `T1`, `T2`, `PD`, ...; `T1,T2` finds one record a subject with both, `T1/T2` two records; None takes
            all.
        labels: folder of region label maps, matched by subject.

    Returns:
        Records sorted by subject, and a sentence on each kind of file or folder that is passed over.

    Raises:
        BrainDiffusionError: there is no such folder, or nothing in it, or not all that was asked for.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise BrainDiffusionError(f"There is no folder {data_dir}: name the one that holds the volumes.")
    asked = Modalities.parse(modality) if modality else None
    files, unreadable = _inputs(data_dir, labels)
    of: dict[Naming, list[Found]] = {"standard": [], "contrast": [], "labels": [], "none": []}
    for path in files:
        naming, item = from_name(path)
        of[naming].append(item)
    named = of["standard"] or of["contrast"]
    wanted = [item for item in named if asked is None or item.modality in asked.names]
    only = asked.names[0] if asked is not None and len(asked.names) == 1 else None
    unnamed = [] if of["standard"] or (asked is not None and only is None) else of["none"]
    missing = [name for name in asked.names if name not in {item.modality for item in wanted}] if asked else []
    if (missing and not unnamed) or not wanted + unnamed:
        raise BrainDiffusionError(_nothing(data_dir, missing[0] if missing else modality, named))
    wanted = sorted(wanted + unnamed, key=lambda item: (item.subject, str(item.path)))
    wanted = _mark_doubles(wanted, only)
    strangers = of["contrast"] + of["labels"] + of["none"] if of["standard"] else []
    maps = [] if of["standard"] else of["labels"]
    passed_over = _passed_over([item.path for item in strangers], [item.path for item in maps], unreadable)
    if asked and len(asked.names) > 1 and not asked.separate:
        wanted = _as_channels(wanted, asked)
    return (match_labels(wanted, labels) if labels is not None else wanted), passed_over


def _passed_over(unnamed: Sequence[Path], maps: Sequence[Path], unreadable: Sequence[Path]) -> list[str]:
    def names(paths: Sequence[Path]) -> str:
        return listed([path.name for path in paths], MOST_NAMED)

    sentences = []
    if unnamed:
        sentences.append(
            f"{len(unnamed)} of the volumes are passed over, since their names are neither IXI's nor BIDS' as those of "
            f"the others are: {names(unnamed)}."
        )
    if maps:
        sentences.append(f"{len(maps)} of the volumes are label maps by their names, and no scans: {names(maps)}.")
    if unreadable:
        sentences.append(f"{len(unreadable)} of the folders cannot be read: {names(unreadable)}.")
    return sentences


def match_labels(found: list[Found], folder: Path) -> list[Found]:
    """Return the records with label maps from a folder.

    A label map's name is that of the volume, or begins with it, or with the subject's; or it is the
    `SUBJECT/mri/aparc+aseg.mgz` of a FreeSurfer folder. A brain mask counts where there is no other map, a scan of
    another modality never. Of several maps that one counts whose folders have most names in common with those of the
    volume; a map whose folders are rather those of another volume of that name is no map of this one. Trajectories and
    previews of generated brains are no maps. A record without one gets a problem.

    Raises:
        BrainDiffusionError: there is no such folder, or none of its files belongs to a subject.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BrainDiffusionError(f"There is no folder of label maps at {folder}.")
    volumes = {path.resolve() for item in found for path in item.paths}
    files = [path for path in _volume_files(folder)[0] if not volume_stem(path).endswith(_BESIDE)]
    maps = [(_map_name(path), path) for path in files if path.resolve() not in volumes]
    beginning: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for name, path in maps:
        for start in _beginnings(name):
            beginning[start].append((name, path))
    namesakes: dict[tuple[str, str | None], list[Found]] = defaultdict(list)
    for item in found:
        namesakes[item.subject, item.modality].append(item)
    matched = []
    for item in found:
        labels, problem = _own_map(item, beginning, namesakes[item.subject, item.modality], folder)
        if problem and not item.problem:
            item = replace(item, problem=problem, lacks_labels=True)
        matched.append(replace(item, labels=labels))
    if not any(item.labels for item in matched):
        raise BrainDiffusionError(
            f"No volume in {folder} is a label map of a subject: the name has to begin with the "
            f"subject's, for instance {found[0].subject}_labels.nii.gz."
        )
    return matched


def _own_map(
    item: Found, beginning: Mapping[str, list[tuple[str, Path]]], namesakes: Sequence[Found], folder: Path
) -> tuple[Path | None, str]:
    """Return the label map of a record, or None and the problem.

    Args:
        item: the record.
        beginning: names and paths of the maps, by each beginning of their names.
        namesakes: the records of the same subject and modality, this one included.
        folder: of the maps, for the problem.
    """
    named = beginning.get(volume_stem(item.path)) or beginning.get(item.subject, [])
    named = [one for one in named if one[0] == volume_stem(item.path) or not _is_other_scan(one[1], item)]
    # `segment` writes a mask beside each map of regions.
    named = [one for one in named if not one[0].endswith("_mask")] or named
    nearest = max((_in_common(item.path, path) for _, path in named), default=0)
    own = [
        (name, path)
        for name, path in named
        if _in_common(item.path, path) == nearest
        and all(_in_common(other.path, path) <= nearest for other in namesakes)
    ]
    if len(own) == 1:
        return own[0][1], ""
    if own:
        return None, f"{len(own)} label maps ({', '.join(sorted(name for name, _ in own))}), and one is needed"
    problem = f"no label map of {item.subject} in {folder.name}"
    if named:
        problem += f" ({named[0][1].relative_to(folder)} is that of another volume of this name)"
    return None, problem


def is_volume(path: Path) -> bool:
    """Return whether a file's name ends as that of a volume does, in any case."""
    return path.name.lower().endswith(SUFFIXES)


def _is_other_scan(path: Path, of: Found) -> bool:
    """Return whether a file is by its name a scan of another modality than a record, and so no label map."""
    naming, item = from_name(path)
    return naming in ("standard", "contrast") and item.modality in _SCANS and item.modality != of.modality


def _in_common(one: Path, other: Path) -> int:
    """Return the number of folder names that two paths have in common."""
    return len(set(one.absolute().parent.parts) & set(other.absolute().parent.parts))


def _map_name(path: Path) -> str:
    in_freesurfer = volume_stem(path) == "aparc+aseg" and path.parent.name == "mri"
    return path.parent.parent.name if in_freesurfer else volume_stem(path)


def _inputs(data_dir: Path, labels: Path | None) -> tuple[list[Path], list[Path]]:
    files, unreadable = _volume_files(data_dir)
    if (data_dir / "dataset_description.json").exists():
        files = [p for p in files if not {"derivatives", "sourcedata"} & set(p.relative_to(data_dir).parts)]
    if labels is not None and Path(labels).resolve() != data_dir.resolve():
        maps = Path(labels).resolve()
        files = [p for p in files if maps not in p.resolve().parents]
    return files, unreadable


def _volume_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return all volumes below a folder, and the folders that cannot be read. Links are followed, each folder once."""
    volumes: list[Path] = []
    unreadable: list[Path] = []
    waiting, visited = [folder], set[Path]()
    while waiting:
        for parent, folders, files in os.walk(
            waiting.pop(0), onerror=lambda error: unreadable.append(Path(error.filename))
        ):
            here = Path(parent)
            if here.resolve() in visited:
                folders.clear()
                continue
            visited.add(here.resolve())
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [here / name for name in folders if (here / name).is_symlink()]
            volumes += [here / name for name in files if not name.startswith(".") and is_volume(here / name)]
    return sorted(volumes), unreadable


def from_name(path: Path) -> tuple[Naming, Found]:
    """Return what a file's name says, and by which convention."""
    name = volume_stem(path)
    problem = "" if path.exists() else f"{path.name} is a link that leads nowhere: fetch the file (git-annex get)"
    if match := _IXI.match(name):
        site = next((s for s in IXI_SITES if s.lower() == match["site"].lower()), match["site"])
        return "standard", Found(match["subject"], path, match["modality"].upper(), site, problem=problem)
    if match := _BIDS.match(name):
        subject = "_".join(part for part in (match["subject"], match["session"]) if part)
        modality = modality_name(match["modality"])
        if modality == "T1" and "_ce-" in name:  # of BIDS, a contrast agent
            modality = "T1ce"
        return "standard", Found(subject, path, modality, problem=problem)
    if match := _CONTRAST.match(name):
        return "contrast", Found(match["subject"], path, modality_name(match["modality"]), problem=problem)
    return "labels" if _LABELS.match(name) else "none", Found(name, path, problem=problem)


def _beginnings(name: str) -> list[str]:
    """Return the names that `name` continues, itself included: `IXI1_seg` continues `IXI1`, and not `IXI`."""
    return [name[:end] for end in range(len(name) + 1) if end == len(name) or not name[end].isalnum()]


def _mark_doubles(found: list[Found], only: str | None) -> list[Found]:
    """Give every further volume of a subject and modality a problem; `only` is the modality of those without one."""
    first: dict[tuple[str, str | None], Found] = {}
    marked = []
    for item in found:
        key = item.subject, item.modality or only
        taken = item if item.problem else first.setdefault(key, item)
        twin = taken.path if taken.path.name == item.path.name else taken.path.name  # in another folder
        problem = item.problem if taken is item else f"{twin} is there for {item.subject} already"
        marked.append(replace(item, problem=problem))
    return marked


def _as_channels(found: list[Found], asked: Modalities) -> list[Found]:
    """Join the volumes of each subject in the order of the modalities; a subject that lacks one gets a problem."""
    of: dict[str, dict[str | None, Found]] = {}
    joined = [item for item in found if item.problem]
    for item in found:
        if not item.problem:
            of.setdefault(item.subject, {})[item.modality] = item
    for subject, volumes in of.items():
        there = [volumes[name] for name in asked.names if name in volumes]
        lacking = [name for name in asked.names if name not in volumes]
        problem = f"{subject} has no {' and no '.join(lacking)} volume" if lacking else ""
        others = tuple(item.path for item in there[1:])
        joined.append(replace(there[0], modality=str(asked), others=others, problem=problem))
    return sorted(joined, key=lambda item: (item.subject, str(item.path)))


def _nothing(data_dir: Path, modality: str | None, others: list[Found]) -> str:
    of_what = f"{modality} volumes" if modality else "volumes"
    example = modality or "T1"
    there = f", though it holds {', '.join(sorted({str(item.modality) for item in others}))}" if others else ""
    return (
        f"There are no {of_what} in {data_dir}{there}: looked for IXI names (IXI012-HH-1211-{example}.nii.gz), BIDS "
        f"names (sub-01_{example}w.nii.gz) and any other {', '.join(SUFFIXES)}."
    )

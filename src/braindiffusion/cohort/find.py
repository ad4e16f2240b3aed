"""What is in a folder of volumes: IXI as it is published, a BIDS dataset, or plain files.

Only names are read, no file is opened.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from braindiffusion.cohort.modality import BIDS_SUFFIXES, Modalities
from braindiffusion.errors import BrainDiffusionError

SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img.gz", ".img")
"""Of volumes; of a NIfTI pair the `.img` is taken."""
IXI_SITES = ("Guys", "HH", "IOP")

_IXI = re.compile(r"(?P<subject>IXI\d+-(?P<site>[A-Za-z]+)-\d+)[-_](?P<modality>T1|T2|PD|MRA)$", re.IGNORECASE)
_BIDS = re.compile(
    r"(?P<subject>sub-[A-Za-z0-9]+)(?:_(?P<session>ses-[A-Za-z0-9]+))?(?:_[a-z]+-[A-Za-z0-9]+)*_(?P<modality>[A-Za-z0-9]+)$"
)


@dataclass(frozen=True)
class Found:
    """A volume that was found, and what the names say about it.

    Attributes:
        subject: id, such as `IXI012-HH-1211`, `sub-01`, `sub-01_ses-02`, or the name of a plain file.
        path: the volume; of several channels the first.
        modality: `T1`, `T2`, `PD`, ... (of channels all, `T1,T2`), or None where the name does not tell.
        site: of IXI: Guys, HH or IOP.
        labels: its region label map.
        problem: why it cannot be used; empty if nothing speaks against it.
        others: the volumes of the further channels, in order.
    """

    subject: str
    path: Path
    modality: str | None = None
    site: str | None = None
    labels: Path | None = None
    problem: str = ""
    others: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of all channels, in order."""
        return (self.path, *self.others)

    @property
    def person(self) -> str:
        """Who it is: sessions of one person are the same."""
        return self.subject.split("_ses-")[0]


def find(data_dir: Path, *, modality: str | None = "T1", labels: Path | None = None) -> list[Found]:
    """The volumes of a folder and its sub-folders, sorted by subject.

    Where files are named as IXI or BIDS name them, only these are taken, and only if they are of the modality; in any
    other folder every volume is taken. Of several volumes of one subject and modality the first by path is usable, the
    others get a problem.

    Args:
        data_dir: IXI folder, BIDS dataset, or any folder of NIfTI or MGH files.
        modality: `T1`, `T2`, `PD`, ...; `T1,T2` finds one record a subject with both, `T1/T2` two records; None takes
            all.
        labels: folder of region label maps, matched by subject.

    Raises:
        BrainDiffusionError: there is no such folder, or nothing in it, or not all that was asked for.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise BrainDiffusionError(f"There is no folder {data_dir}: name the one that holds the volumes.")
    asked = Modalities.parse(modality) if modality else None
    named = [_from_name(path) for path in _inputs(data_dir, labels)]
    told = [item for item in named if item.modality is not None]
    wanted = [item for item in told if asked is None or item.modality in asked.names] if told else named
    there = {item.modality for item in wanted}
    # Names that do not tell are taken for the one modality that is asked for.
    missing = [name for name in asked.names if name not in there] if asked and (told or len(asked.names) > 1) else []
    if missing or not wanted:
        raise BrainDiffusionError(_nothing(data_dir, missing[0] if missing else modality, told))
    wanted.sort(key=lambda item: (item.subject, str(item.path)))
    wanted = _mark_doubles(wanted)
    if asked and len(asked.names) > 1 and not asked.separate:
        wanted = _as_channels(wanted, asked)
    return match_labels(wanted, labels) if labels is not None else wanted


def match_labels(found: list[Found], folder: Path) -> list[Found]:
    """The same records with label maps from a folder.

    A label map's name is that of the volume, or begins with it, or with the subject's; or it is the
    `SUBJECT/mri/aparc+aseg.mgz` of a FreeSurfer folder. A brain mask counts where there is no other map.
    A record without one gets a problem.

    Raises:
        BrainDiffusionError: there is no such folder, or none of its files belongs to a subject.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BrainDiffusionError(f"There is no folder of label maps at {folder}.")
    volumes = {path.resolve() for item in found for path in item.paths}
    maps = {_map_name(path): path for path in _volume_files(folder) if path.resolve() not in volumes}
    matched = []
    for item in found:
        names = [name for name in maps if _belongs(name, stem(item.path))]
        names = names or [name for name in maps if _belongs(name, item.subject)]
        # `read` writes a mask beside each map of regions.
        names = [name for name in names if not name.endswith("_mask")] or names
        problem = item.problem
        if not names:
            problem = problem or f"no label map of {item.subject} in {folder.name}"
        elif len(names) > 1:
            problem = problem or f"{len(names)} label maps ({', '.join(sorted(names))}), and one is needed"
        matched.append(replace(item, labels=maps[names[0]] if len(names) == 1 else None, problem=problem))
    if not any(item.labels for item in matched):
        raise BrainDiffusionError(
            f"None of the {len(maps)} volumes in {folder} is a label map of a subject: the name has to begin with the "
            f"subject's, for instance {found[0].subject}_labels.nii.gz."
        )
    return matched


def stem(path: Path) -> str:
    """File name without its volume suffix."""
    return next((path.name[: -len(suffix)] for suffix in SUFFIXES if path.name.endswith(suffix)), path.stem)


def _map_name(path: Path) -> str:
    in_freesurfer = stem(path) == "aparc+aseg" and path.parent.name == "mri"
    return path.parent.parent.name if in_freesurfer else stem(path)


def _inputs(data_dir: Path, labels: Path | None) -> list[Path]:
    files = list(_volume_files(data_dir))
    if (data_dir / "dataset_description.json").exists():
        files = [p for p in files if not {"derivatives", "sourcedata"} & set(p.relative_to(data_dir).parts)]
    if labels is not None and Path(labels).resolve() != data_dir.resolve():
        maps = Path(labels).resolve()
        files = [p for p in files if maps not in p.resolve().parents]
    return files


def _volume_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.name.endswith(SUFFIXES) and not hidden and path.is_file():
            yield path


def _from_name(path: Path) -> Found:
    name = stem(path)
    if match := _IXI.match(name):
        site = next((s for s in IXI_SITES if s.lower() == match["site"].lower()), match["site"])
        return Found(match["subject"], path, match["modality"].upper(), site)
    if match := _BIDS.match(name):
        subject = "_".join(part for part in (match["subject"], match["session"]) if part)
        return Found(subject, path, BIDS_SUFFIXES.get(match["modality"], match["modality"]))
    return Found(name, path)


def _belongs(name: str, to: str) -> bool:
    """Whether `name` is `to` or continues it: `IXI1_seg` belongs to `IXI1`, `IXI12` does not."""
    return name == to or (name.startswith(to) and not name[len(to)].isalnum())


def _mark_doubles(found: list[Found]) -> list[Found]:
    first: dict[tuple[str, str | None], Found] = {}
    marked = []
    for item in found:
        taken = first.setdefault((item.subject, item.modality), item)
        double = taken is not item
        marked.append(
            replace(item, problem=f"{taken.path.name} is there for {item.subject} already") if double else item
        )
    return marked


def _as_channels(found: list[Found], asked: Modalities) -> list[Found]:
    """One record a subject, in the order of the modalities; a subject that lacks one gets a problem."""
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

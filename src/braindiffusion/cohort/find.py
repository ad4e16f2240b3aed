"""What is in a folder of volumes: IXI as it is published, a BIDS dataset, or plain files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from braindiffusion.errors import BrainDiffusionError

SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".img")
IXI_SITES = ("Guys", "HH", "IOP")

_IXI = re.compile(r"(?P<subject>IXI\d+-(?P<site>[A-Za-z]+)-\d+)[-_](?P<modality>T1|T2|PD|MRA)\b", re.IGNORECASE)
_BIDS = re.compile(r"(?P<subject>sub-[A-Za-z0-9]+)(?:_(?P<session>ses-[A-Za-z0-9]+))?(?:_[a-z]+-[A-Za-z0-9]+)*_(?P<modality>[A-Za-z0-9]+)$")
_BIDS_MODALITIES = {"T1w": "T1", "T2w": "T2", "PDw": "PD"}


@dataclass(frozen=True)
class Found:
    """A volume that was found, and what the names say about it.

    Attributes:
        subject: id, unique in a folder (a BIDS subject with sessions gets one id a session, `sub-01_ses-02`).
        path: the volume.
        modality: `T1`, `T2`, `PD`, ... or None where the name does not tell.
        site: of IXI: Guys, HH or IOP.
        labels: its region label map.
        problem: why it cannot be used; empty if it can.
    """

    subject: str
    path: Path
    modality: str | None = None
    site: str | None = None
    labels: Path | None = None
    problem: str = ""


def find(data_dir: Path, *, modality: str | None = "T1", labels: Path | None = None) -> list[Found]:
    """The volumes of a folder, sorted by subject.

    Names that tell a modality are kept if it is the one asked for; names that tell none are kept.

    Args:
        data_dir: IXI folder, BIDS dataset, or any folder of NIfTI or MGH files; sub-folders are searched.
        modality: `T1`, `T2`, `PD`, ...; None takes all.
        labels: folder of region label maps, matched by subject.

    Raises:
        BrainDiffusionError: no such folder, or nothing in it.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise BrainDiffusionError(f"There is no folder {data_dir}: name the one that holds the volumes.")
    derived = {"derivatives", "sourcedata"} if (data_dir / "dataset_description.json").exists() else set()
    files = [p for p in volume_files(data_dir) if not derived & set(p.relative_to(data_dir).parts)]
    if labels is not None:
        label_dir = Path(labels).resolve()
        files = [p for p in files if label_dir == data_dir.resolve() or label_dir not in p.resolve().parents]
    found = [_from_name(path) for path in files]
    wanted = [item for item in found if modality is None or item.modality in (None, modality)]
    if not wanted:
        what = f"{modality} volumes" if modality else "volumes"
        others = sorted({item.modality for item in found if item.modality})
        hint = f" (it holds {', '.join(others)})" if others else ""
        raise BrainDiffusionError(
            f"No {what} in {data_dir}{hint}: looked for IXI names (IXI012-HH-1211-{modality or 'T1'}.nii.gz), BIDS names "
            f"(sub-01_{modality or 'T1'}w.nii.gz) and any {', '.join(SUFFIXES)}."
        )
    wanted.sort(key=lambda item: (item.subject, str(item.path)))
    wanted = _without_doubles(wanted)
    return match_labels(wanted, labels) if labels is not None else wanted


def match_labels(found: list[Found], folder: Path) -> list[Found]:
    """The same records with label maps from a folder: the file whose name begins with the volume's name, or with the subject's.

    Raises:
        BrainDiffusionError: no such folder, or none of its files belongs to any subject.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BrainDiffusionError(f"There is no folder of label maps at {folder}.")
    files = list(volume_files(folder))
    volumes = {item.path.resolve() for item in found}
    by_stem = {stem(path): path for path in files if path.resolve() not in volumes}
    matched = []
    for item in found:
        names = [name for name in by_stem if _belongs(name, stem(item.path))]
        names = names or [name for name in by_stem if _belongs(name, item.subject)]
        problem = item.problem
        if len(names) != 1:
            problem = problem or ("no label map" if not names else f"{len(names)} label maps: {', '.join(sorted(names))}")
        matched.append(replace(item, labels=by_stem[names[0]] if len(names) == 1 else None, problem=problem))
    if not any(item.labels for item in matched):
        raise BrainDiffusionError(
            f"None of the {len(files)} files in {folder} belongs to a subject: a label map's name begins with the subject's, "
            f"for instance {found[0].subject}_labels.nii.gz."
        )
    return matched


def volume_files(folder: Path) -> Iterable[Path]:
    """Files below a folder that look like volumes, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.name.endswith(SUFFIXES) and not hidden and path.is_file():
            yield path


def stem(path: Path) -> str:
    """File name without its volume suffix."""
    return next((path.name[: -len(suffix)] for suffix in SUFFIXES if path.name.endswith(suffix)), path.stem)


def _from_name(path: Path) -> Found:
    name = stem(path)
    if match := _IXI.match(name):
        site = next((s for s in IXI_SITES if s.lower() == match["site"].lower()), match["site"])
        return Found(match["subject"], path, match["modality"].upper(), site)
    if match := _BIDS.match(name):
        subject = "_".join(part for part in (match["subject"], match["session"]) if part)
        return Found(subject, path, _BIDS_MODALITIES.get(match["modality"], match["modality"]))
    return Found(name, path)


def _belongs(name: str, to: str) -> bool:
    return name == to or (name.startswith(to) and not name[len(to)].isalnum())


def _without_doubles(found: list[Found]) -> list[Found]:
    seen: dict[str, Found] = {}
    result = []
    for item in found:
        first = seen.setdefault(item.subject, item)
        if first is not item:
            item = replace(item, problem=f"second volume of {item.subject}: {first.path.name} is taken")
        result.append(item)
    return result

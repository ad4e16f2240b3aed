"""The brains of an export, with their BIDS labels."""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from braindiffusion.cohort.find import Found, from_name, match_labels, search
from braindiffusion.cohort.preprocessing import BIDS_SUFFIXES
from braindiffusion.errors import BrainDiffusionError
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.runs.sidecar import is_generated, is_synthetic, load_sidecar, sidecar_path, volume_stem

SUFFIXES = {modality: suffix for suffix, modality in BIDS_SUFFIXES.items()} | {
    "MRA": "angio",
    "T1ce": "ce-gadolinium_T1w",
}
"""BIDS suffix of each modality that is spelled otherwise here, with the entity of a contrast agent."""
ANATOMICAL = ("T1w", "T2w", "PDw", "FLAIR", "T2star", "inplaneT1", "inplaneT2", "angio", "UNIT1", "PDT2")
EDITED = "part"
"""What the sidecar of an edited scan says of what is synthetic."""
_NO_BRAIN = ("_trajectory", "_preview", "_regions")


@dataclass(frozen=True)
class Brain:
    """One volume to export.

    Attributes:
        path: the volume.
        subject: BIDS label, letters and digits only, without `sub-`.
        session: BIDS label of the session, empty where there is none.
        suffix: BIDS suffix of its modality, such as `T1w`.
        labels: its region label map.
        sidecar: content of its sidecar.
        name: original name of the subject, to find it in a participants table.
        synthetic: whether a model generated it; None where neither sidecar nor header say so.
    """

    path: Path
    subject: str
    session: str = ""
    suffix: str = "T1w"
    labels: Path | None = None
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    synthetic: bool | None = None

    @property
    def edited(self) -> bool:
        """Whether a part of it is synthetic: a scan that `edit` changed, and not a generated brain."""
        return not self.synthetic and self.sidecar.get("synthetic") == EDITED


Tell = Callable[[str], object]
"""Takes a sentence on what is left out, or not known."""


def brains_in(
    sources: Iterable[Path], *, labels: Path | None = None, modality: str = "T1", tell: Tell = warnings.warn
) -> list[Brain]:
    """Find the brains of volumes, folders and runs, in this order, without previews and trajectories.

    Args:
        sources: volumes, folders of volumes (IXI, BIDS or any other), runs of `generate`.
        labels: folder of region label maps, matched by file name.
        modality: modality of a volume whose name and sidecar have none: `T1`, `T2`, `PD`, ...
        tell: takes a sentence for each volume that is left out, or whose sidecar cannot be read.

    Raises:
        BrainDiffusionError: there is nothing in one of them, or a modality that BIDS has no name for.
    """
    unique: dict[Path, Found] = {}
    for source in sources:
        for item in _found(Path(source), tell):
            unique.setdefault(item.path.resolve(), item)
    found = list(unique.values())
    if labels is not None:
        found = match_labels(found, labels)
        for item in found:
            if item.labels is None:
                tell(f"{item.path.name} is exported without a label map: {item.problem}.")
    kept = []
    for item in found:
        sidecar = _sidecar(item.path, tell)
        if sidecar.get("synthetic") == EDITED and "values" in sidecar:
            tell(f"{item.path.name} is left out: it holds all values of a sweep, each of which has a file of its own.")
        else:
            kept.append((item, sidecar))
    return named(kept, modality, tell)


def named(
    found: Iterable[tuple[Found, Mapping[str, Any]]], modality: str = "T1", tell: Tell = warnings.warn
) -> list[Brain]:
    """Give BIDS labels to brains: generated ones are `gen001`, `gen002`, ...; any other keeps what BIDS allows.

    Two volumes of one subject, session and modality are two runs if they lie in one folder. Those of two folders may be
    of two people, and become two subjects.

    Args:
        found: volumes with the contents of their sidecars.
        modality: as in `brains_in`.
        tell: as in `brains_in`.

    Raises:
        BrainDiffusionError: BIDS has no name for any of the modalities.
    """
    brains: list[Brain] = []
    labels: dict[object, str] = {}
    left_out: list[str] = []
    kept: list[tuple[Found, Mapping[str, Any], str, bool | None]] = []
    for item, sidecar in found:
        try:
            kept.append((item, sidecar, _suffix(item, sidecar, modality), is_synthetic(item.path, sidecar)))
        except BrainDiffusionError as error:
            left_out.append(str(error))
    namesakes = _namesakes((item, suffix) for item, _, suffix, synthetic in kept if not synthetic)
    for item, sidecar, suffix, synthetic in kept:
        person, _, session = item.subject.partition("_ses-")
        # The channels of one sample are one subject.
        sample = (item.path.parent, sidecar.get("sample", item.path), sidecar.get("seed"))
        key: object = sample if synthetic else (person, namesakes[person, _folder(item)])
        wanted = "" if synthetic else re.sub(r"[^A-Za-z0-9]", "", person.removeprefix("sub-"))
        # A person's name may have no letter that BIDS allows.
        subject = labels.get(key) or _free(wanted, set(labels.values()), "gen" if synthetic else "scan")
        labels[key] = subject
        brains.append(Brain(item.path, subject, session, suffix, item.labels, sidecar, item.subject, synthetic))
    if left_out and not brains:
        raise BrainDiffusionError(left_out[0])
    for sentence in left_out:
        tell(f"Left out: {sentence}")
    for (person, folder), number in namesakes.items():
        if number:
            tell(
                f"{person} of {folder} becomes sub-{labels[person, number]}, since another folder has a volume of this "
                "name, and age and sex of both are left out: give two people two names, or two scans of one person "
                "sessions (sub-01_ses-1_T1w.nii.gz)."
            )
    return brains


def _folder(item: Found) -> Path:
    """Return the folder of a scan, above those that BIDS makes for the subject and the session."""
    folder = item.path.absolute().parent
    while folder.name in ("anat", item.person) or folder.name.startswith("ses-"):
        folder = folder.parent
    return folder


def _namesakes(scans: Iterable[tuple[Found, str]]) -> dict[tuple[str, Path], int]:
    """Return a number for each person and folder: folders with the same volume of a person have different ones."""
    held: dict[tuple[str, Path], set[tuple[str, str]]] = {}
    for item, suffix in scans:
        held.setdefault((item.person, _folder(item)), set()).add((item.subject, suffix))
    people: dict[str, list[set[tuple[str, str]]]] = {}
    numbers = {}
    for (person, folder), volumes in held.items():
        groups = people.setdefault(person, [])
        number = next((i for i, group in enumerate(groups) if group.isdisjoint(volumes)), len(groups))
        if number == len(groups):
            groups.append(set())
        groups[number] |= volumes
        numbers[person, folder] = number
    return numbers


def _sidecar(volume: Path, tell: Tell) -> dict[str, Any]:
    """Return the sidecar of a volume, empty without one; report one that cannot be read."""
    path = sidecar_path(volume)
    if not path.exists():
        return {}
    try:
        return load_sidecar(path)
    except BrainDiffusionError as error:
        tell(f"{error} {volume.name} is exported without what it said.")
        return {}


def _free(wanted: str, taken: set[str], otherwise: str) -> str:
    """Return the wanted label if it is free, else with a number; without one, another word with a number."""
    if wanted and wanted not in taken:
        return wanted
    number = 1
    while (label := f"{wanted or otherwise}{number:03d}") in taken:
        number += 1
    return label


def _found(source: Path, tell: Tell) -> list[Found]:
    if (source / "run.json").is_file():
        run = Run.open(source)
        asked = run.request
        source = asked.out if isinstance(asked, GenerateRequest) and asked.out is not None else run.results
    # Labels beside the volumes are no brains: only what is named as a scan is taken where anything is.
    if source.is_file():
        found = [from_name(source)[1]]
    else:
        every, passed_over = search(source, modality=None)
        found = [item for item in every if item.path.exists()]
        for sentence in passed_over:
            tell(sentence)
        for item in every:
            if item not in found:
                tell(f"{item.path.name} is left out: {item.problem}.")
    found = [item for item in found if _is_brain(item.path)]
    if not found:
        raise BrainDiffusionError(f"There are no brains in {source}: name volumes, folders of them, or runs.")
    return [replace(item, problem="") for item in found]


def _is_brain(path: Path) -> bool:
    return not volume_stem(path).endswith(_NO_BRAIN)


def _suffix(item: Found, sidecar: Mapping[str, Any], otherwise: str) -> str:
    own = sidecar if is_generated(sidecar) else {}
    asked = own.get("condition") or {}
    modality = str(item.modality or own.get("channel") or asked.get("modality") or otherwise)
    suffix = SUFFIXES.get(modality, modality)
    if modality not in SUFFIXES and suffix not in ANATOMICAL:
        known = ", ".join((*SUFFIXES, "FLAIR"))
        raise BrainDiffusionError(f"BIDS has no name for the modality '{modality}' of {item.path}: say one of {known}.")
    return suffix

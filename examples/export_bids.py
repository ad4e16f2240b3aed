"""Put generated brains into a BIDS dataset: `python examples/export_bids.py generated --out bids`.

Each sample becomes a subject (`sub-gen001`), its sidecar goes along, and what it was asked to be (age, sex) goes into
`participants.tsv`.
"""

import csv
import json
from pathlib import Path
from typing import Annotated

import typer

import braindiffusion
from braindiffusion import load_volume, save_volume


def main(
    generated: Annotated[Path, typer.Argument(help="Folder that `generate` wrote.")],
    out: Annotated[Path, typer.Option(help="The dataset.")] = Path("bids"),
    name: Annotated[str, typer.Option(help="Of the dataset.")] = "Generated brains",
) -> None:
    """Write a BIDS dataset of T1w volumes."""
    found = [path for path in sorted(generated.glob("sample_*.nii.gz")) if "trajectory" not in path.name]
    if not found:
        raise SystemExit(f"There are no samples in {generated}: make some with `braindiffusion generate`.")
    rows = []
    for number, path in enumerate(found, 1):
        subject = f"sub-gen{number:03d}"
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text(encoding="utf-8"))
        target = out / subject / "anat" / f"{subject}_T1w.nii.gz"
        save_volume(load_volume(path), target)
        told = {"Modality": "MR", "SkullStripped": bool(sidecar.get("background_cleared")), "Synthetic": True}
        told |= {"GeneratedBy": sidecar}
        target.with_name(f"{subject}_T1w.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        asked = sidecar.get("condition") or {}
        rows.append([subject, asked.get("age", "n/a"), asked.get("sex", "n/a"), sidecar["seed"]])
    description = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "BrainDiffusion", "Version": braindiffusion.__version__}],
    }
    (out / "dataset_description.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    with (out / "participants.tsv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([["participant_id", "age", "sex", "seed"], *rows])
    print(f"{len(rows)} subjects in {out}")


if __name__ == "__main__":
    typer.run(main)

"""What headers and sidecars say of a person reaches neither cohorts nor run folders."""

import json
from pathlib import Path

import nibabel as nib

from braindiffusion.jobs import perform
from braindiffusion.runs import Failed, Run
from braindiffusion.runs.requests import InspectRequest, PrepareRequest

SECRET = "Doe^Jane 1961-02-03"


def test_nobody_is_named_by_a_cohort_or_by_a_run(ixi: Path, tmp_path: Path) -> None:
    for path in sorted((ixi / "IXI-T1").glob("*.nii.gz")):
        image = nib.load(path)
        for name in ("descrip", "aux_file", "db_name", "intent_name"):
            image.header[name] = SECRET[: image.header[name].dtype.itemsize].encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SECRET.encode()))
        changed = path.with_name(f"x{path.name}")
        nib.save(image, changed)
        changed.replace(path)
        told = dict.fromkeys(("PatientName", "PatientBirthDate", "InstitutionName"), SECRET)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(told))
    folders = {"data_dir": ixi / "IXI-T1", "labels": ixi / "labels", "workers": 1}
    out = tmp_path / "made"
    for request in (
        PrepareRequest(**folders, out=out / "c.zarr", spacing=4.0),
        InspectRequest(**folders),
    ):
        assert not [event for event in perform(Run.create(request, out / "runs")) if isinstance(event, Failed)]
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) > 15
    for path in written:
        content = path.read_bytes()
        assert not any(part in content for part in (b"Doe^", b"Jane", b"1961")), path

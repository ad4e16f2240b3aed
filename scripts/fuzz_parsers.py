"""Coverage-guided fuzzing of the parsers of tables, sidecars, cards, bundles and file names, with Atheris.

    pip install atheris
    python scripts/fuzz_parsers.py --minutes 60 --corpus build/parsers

Only `BrainDiffusionError` with one line may come out. A find ends the run, and its input is kept in the corpus folder
as `crash-...`; a mended one goes into `tests/corpus`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["braindiffusion"]):
    from braindiffusion.cohort.demographics import read_demographics
    from braindiffusion.cohort.find import search
    from braindiffusion.cohort.vectors.table import read_vector_table
    from braindiffusion.errors import BrainDiffusionError
    from braindiffusion.models.registry import read_card
    from braindiffusion.runs.sidecar import load_sidecar
    from braindiffusion.untrusted import cell, name_part

HOME = Path(tempfile.mkdtemp(prefix="parsers-"))
NETWORK = {
    "spatial_dims": 3, "in_channels": 1, "out_channels": 1, "channels": [8, 8], "attention_levels": [False, True],
    "with_conditioning": True, "cross_attention_dim": 2,
}  # fmt: skip
INFERENCE = json.dumps(
    {
        "network_def": {"_target_": "monai.networks.nets.DiffusionModelUNet", **NETWORK},
        "scheduler": {"_target_": "monai.networks.schedulers.DDIMScheduler", "num_train_timesteps": 6},
        "age": 0.1, "brain_vol": 0.4, "conditioning": "$torch.tensor([[@age, @brain_vol]])",
    }
)  # fmt: skip
OUTPUT = {"type": "image", "spatial_shape": [8, 8, 8], "value_range": [0, 1]}
METADATA = json.dumps({"version": "1.0.0", "network_data_format": {"outputs": {"pred": OUTPUT}}})
TABLE = "participant_id\tage\tsex\nsub-01\t30\tF\n"


def written(name: str, content: bytes) -> Path:
    """Write a file and return its path."""
    path = HOME / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def card(content: bytes) -> None:
    """Read a model card."""
    found = read_card(written("model/model.json", content).parent)
    json.dumps(found.to_json())
    found.conditions.choices(), found.sampling_defaults, found.prepared


def bundle(inference: bytes, metadata: bytes) -> None:
    """Read a MONAI bundle."""
    written("bundle/configs/inference.json", inference)
    read_card(written("bundle/configs/metadata.json", metadata).parent.parent)


def described(content: bytes) -> None:
    """Read a table with the JSON file beside it."""
    written("described/participants.json", content)
    read_demographics(written("described/participants.tsv", TABLE.encode()))


def names(content: bytes) -> None:
    """Find scans by their names, and use a text as a part of a name."""
    folder = Path(tempfile.mkdtemp(dir=HOME))
    text = content.decode(errors="replace")
    try:
        for name in text.split("\n")[:6]:
            safe = name.replace("/", "_").replace("\0", "_")[:60]
            (folder / f"{safe}.nii.gz").write_bytes(b"")
        search(folder)
        cell(text), name_part(text, "The text")
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


PARSERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (lambda content: read_demographics(written("a.tsv", content)).problems(["sub-01", "IXI002"]), TABLE.encode()),
    (lambda content: read_vector_table(written("scores.csv", content)), b"participant_id,x,session\nsub-01,0.5,1\n"),
    (lambda content: load_sidecar(written("s.json", content)), b'{"synthetic": true, "seed": 3, "condition": {}}'),
    (card, b'{"name": "x", "kind": "cascade", "preprocessing": {"shape": [16, 16, 16], "modality": "T1"}}'),
    (lambda content: bundle(content, METADATA.encode()), INFERENCE.encode()),
    (lambda content: bundle(INFERENCE.encode(), content), METADATA.encode()),
    (described, b'{"age": {"Units": "months"}, "sex": {"Levels": {"1": "male"}}}'),
    (names, b"sub-01_ses-2_T1w\nIXI002-Guys-0828-T1\nBraTS2021_00000_flair"),
]
"""Parsers, each with a valid input."""


def one(data: bytes) -> None:
    """Give the input to the parser that its first byte names."""
    try:
        if data:
            PARSERS[data[0] % len(PARSERS)][0](data[1:])
    except BrainDiffusionError as error:
        if "\n" in str(error):
            raise RuntimeError(f"a sentence of several lines: {error}") from error


def main() -> None:
    """Fuzz for so long."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--minutes", type=float, default=60)
    arguments.add_argument("--corpus", type=Path, default=Path("build/parsers"))
    asked = arguments.parse_args()
    asked.corpus.mkdir(parents=True, exist_ok=True)
    for number, (_, valid) in enumerate(PARSERS):
        (asked.corpus / f"valid-{number}").write_bytes(bytes([number]) + valid)
    limits = ["-timeout=60", "-rss_limit_mb=4000", "-max_len=4096", f"-max_total_time={60 * asked.minutes:.0f}"]
    atheris.Setup([sys.argv[0], str(asked.corpus), *limits, f"-artifact_prefix={asked.corpus}/"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

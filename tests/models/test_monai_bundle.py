"""Bundles are read as data, and sampled as MONAI itself would."""

import builtins
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braindiffusion.errors import BrainDiffusionError
from braindiffusion.jobs import perform
from braindiffusion.models.generator import SeededNoise
from braindiffusion.models.registry import find_model, load_generator, read_card
from braindiffusion.runs import GenerateRequest, Run
from braindiffusion.volume import load_volume

pytest.importorskip("monai", reason="MONAI is an optional extra")
NETWORK = {
    "_target_": "monai.networks.nets.DiffusionModelUNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "channels": [8, 8],
    "attention_levels": [False, False],
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "num_head_channels": 4,
}
AUTOENCODER = {
    "_target_": "monai.networks.nets.AutoencoderKL",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "latent_channels": "@latent_channels",
    "channels": [4, 4],
    "num_res_blocks": 1,
    "norm_num_groups": 2,
    "attention_levels": [False, False],
    "with_encoder_nonlocal_attn": False,
    "with_decoder_nonlocal_attn": False,
}
SCHEDULER = {
    "_target_": "monai.networks.schedulers.DDIMScheduler",
    "_requires_": ["@load_diffusion"],
    "num_train_timesteps": 6,
    "schedule": "scaled_linear_beta",
    "beta_start": 0.0015,
    "beta_end": 0.3,
    "clip_sample": False,
}
Make = Callable[..., Path]


def random_network(definition: dict[str, Any], **changes: Any) -> torch.nn.Module:
    """A network of MONAI's with weights that do something: its last layer starts at zero."""
    from monai.networks import nets

    arguments = {k: v for k, v in {**definition, **changes}.items() if not k.startswith("_")}
    torch.manual_seed(1)
    network = getattr(nets, definition["_target_"].rpartition(".")[2])(**arguments)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture
def make_bundle(tmp_path: Path) -> Make:
    """Write a bundle: its network, scheduler and other entries of `inference.json`, in voxels or in latents."""

    def make(
        network: dict[str, Any] | None = None,
        scheduler: dict[str, Any] | None = None,
        *,
        latent: bool = False,
        weights: bool = True,
        metadata: dict[str, Any] | None = None,
        **entries: Any,
    ) -> Path:
        folder = tmp_path / "brain_bundle"
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        (folder / "models").mkdir(exist_ok=True)
        network = {**NETWORK, **(network or {})}
        if latent:
            network = {**network, "in_channels": 2 + network.get("cross_attention_dim", 0), "out_channels": 2}
        inference = {
            "imports": ["$import torch"],
            "bundle_root": ".",
            "latent_channels": 2,
            "output_dir": "$@bundle_root + '/output'",
            "network_def": network,
            "load_diffusion": "$@network_def.load_state_dict(torch.load(@bundle_root + '/models/model.pt'))",
            "scheduler": {**SCHEDULER, **(scheduler or {})},
            "set_timesteps": "$@scheduler.set_timesteps(num_inference_steps=6)",
            "sampler": {"_target_": "scripts.sampler.Sampler", "_requires_": "@set_timesteps"},
            **({"autoencoder_def": AUTOENCODER} if latent else {}),
            **entries,
        }
        output = {"type": "image", "spatial_shape": [8, 8, 8], "value_range": [0, 1]}
        told = {"version": "1.0.0", "task": "Brain synthesis", "network_data_format": {"outputs": {"pred": output}}}
        (folder / "configs" / "inference.json").write_text(json.dumps(inference))
        (folder / "configs" / "metadata.json").write_text(json.dumps({**told, **(metadata or {})}))
        if weights:
            torch.save(random_network(network).state_dict(), folder / "models" / "model.pt")
            if latent:
                state = random_network(AUTOENCODER, latent_channels=2).state_dict()
                save_file(state, folder / "models" / "autoencoder.safetensors")
        return folder

    return make


CONDITIONED = {"with_conditioning": True, "cross_attention_dim": 2, "attention_levels": [False, True]}
CONDITIONING = {
    "age": 0.1,
    "brain_vol": 0.4,
    "conditioning": "$torch.tensor([[@age, @brain_vol]]).to(@device).unsqueeze(1)",
}


def test_a_card_is_made_of_the_configuration_and_evaluates_nothing(make_bundle: Make) -> None:
    folder = make_bundle(CONDITIONED, **CONDITIONING, evil="$__import__('os').abort()", weights=False)
    assert find_model(folder) == folder
    card = read_card(folder)
    assert (card.kind, card.name, card.summary) == ("monai-bundle", "brain_bundle", "Brain synthesis")
    assert card.conditions.names == ("age", "brain_vol")
    assert card.conditions.fields[0].seen.quantiles[-1] == 1  # type: ignore[union-attr]
    assert card.sampling_defaults == {"steps": [6], "sampler": ["ddim"], "levels": [1], "guidance": [1.0]}


def test_ddim_in_voxels_is_that_of_monai(make_bundle: Make) -> None:
    from monai.networks.schedulers import DDIMScheduler

    generator = load_generator(make_bundle())
    *_, last = generator.sample([3])
    network = random_network(NETWORK)
    scheduler = DDIMScheduler(**{k: v for k, v in SCHEDULER.items() if not k.startswith("_")})
    scheduler.set_timesteps(6)
    x = SeededNoise([3], 0, (1, 8, 8, 8), torch.device("cpu"))()
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x, _ = scheduler.step(network(x, t[None]), int(t), x)
    assert last.last
    assert x.std() > 0.05
    torch.testing.assert_close(last.volume(), (2 * x - 1).clamp(-1, 1), atol=2e-4, rtol=1e-3)


def test_a_rectified_flow_is_that_of_monai(make_bundle: Make) -> None:
    from monai.networks.schedulers import RFlowScheduler

    folder = make_bundle()
    inference = json.loads((folder / "configs" / "inference.json").read_text())
    inference |= {"scheduler": {"_target_": "monai.networks.schedulers.RFlowScheduler", "num_train_timesteps": 1000}}
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    *_, last = load_generator(folder).sample([3])
    network, scheduler = random_network(NETWORK), RFlowScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(6)
    x = SeededNoise([3], 0, (1, 8, 8, 8), torch.device("cpu"))()
    following = [*scheduler.timesteps[1:], 0]
    with torch.inference_mode():
        for t, after in zip(scheduler.timesteps, following, strict=True):
            x, _ = scheduler.step(network(x, t[None]), int(t), x, int(after))
    torch.testing.assert_close(last.volume(), (2 * x - 1).clamp(-1, 1), atol=5e-3, rtol=1e-2)


def test_latents_with_conditions_beside_the_noise_and_in_the_attention(make_bundle: Make) -> None:
    from monai.networks.schedulers import DDIMScheduler

    generator = load_generator(make_bundle(CONDITIONED, latent=True, **CONDITIONING))
    told = {"age": torch.tensor([[0.7]]), "brain_vol": torch.tensor([[torch.nan]])}
    *_, last = generator.sample([0], condition=told)
    network = random_network({**NETWORK, **CONDITIONED, "in_channels": 4, "out_channels": 2})
    autoencoder = random_network(AUTOENCODER, latent_channels=2)
    scheduler = DDIMScheduler(**{k: v for k, v in SCHEDULER.items() if not k.startswith("_")})
    scheduler.set_timesteps(6)
    x = SeededNoise([0], 0, (2, 4, 4, 4), torch.device("cpu"))()
    context = torch.tensor([[[0.7, 0.4]]])  # what is left out has the bundle's value
    beside = context[:, 0, :, None, None, None].expand(-1, -1, 4, 4, 4)
    with torch.inference_mode():
        for t in scheduler.timesteps:
            x, _ = scheduler.step(network(torch.cat((x, beside), 1), t[None], context), int(t), x)
        expected = (2 * autoencoder.decode_stage_2_outputs(x) - 1).clamp(-1, 1)
    torch.testing.assert_close(last.volume(), expected, atol=5e-4, rtol=1e-3)
    *_, other = generator.sample([0], condition={**told, "age": torch.tensor([[0.1]])})
    assert (other.volume() - last.volume()).abs().max() > 1e-4


def test_brains_are_generated_by_the_job_and_are_the_same_again(make_bundle: Make, tmp_path: Path) -> None:
    folder = make_bundle(CONDITIONED, **CONDITIONING)
    request = GenerateRequest(model=str(folder), condition={"age": 0.3}, num_samples=2, out=tmp_path / "out", steps=3)
    run = Run.create(request, tmp_path)
    list(perform(run))
    first = load_volume(tmp_path / "out" / "sample_001.nii.gz")
    assert first.shape == (8, 8, 8)
    sidecar = json.loads((tmp_path / "out" / "sample_001.json").read_text())
    assert sidecar["condition"] == {"age": 0.3}
    assert len(sidecar["model"]["sha256"]) == 64
    *_, last = load_generator(folder).sample([1], condition=_only_age(0.3), steps=3)
    second = load_volume(tmp_path / "out" / "sample_002.nii.gz")
    np.testing.assert_allclose(second.data, (last.volume()[0].numpy() + 1) / 2, atol=1e-3)


def _only_age(value: float) -> dict[str, torch.Tensor]:
    return {"age": torch.tensor([[value]]), "brain_vol": torch.tensor([[torch.nan]])}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"network": {"channels": "$[8] * 2"}}, r"network_def\.channels by the expression \$\[8\] \* 2"),
        ({"network": {"_target_": "monai.networks.nets.ControlNet"}}, "uses monai.networks.nets.ControlNet"),
        ({"network": {"_target_": "evil.networks.DiffusionModelUNet"}}, "uses evil.networks.DiffusionModelUNet"),
        ({"network": {"_target_": "os.system"}}, "defines no DiffusionModelUNet"),
        ({"network": {"spatial_dims": 2}}, "only models of 3D volumes"),
        ({"network": {"channels": [10**9, 8]}}, "what no network takes"),
        ({"scheduler": {"num_train_timesteps": "many\n"}}, "sets num_train_timesteps to many, which is no number"),
        ({"network": {"out_channels": -1}}, "sets out_channels to '-1|sets out_channels to -1"),
        ({"network": {**CONDITIONED, "cross_attention_dim": [2]}}, r"sets cross_attention_dim to \[2\]"),
        ({"scheduler": {"_target_": "PNDMScheduler"}}, "defines no scheduler"),
        ({"metadata": {"network_data_format": {}}}, "does not tell the spatial_shape"),
    ],
)
def test_what_is_not_plain_is_refused(make_bundle: Make, entries: dict[str, Any], message: str) -> None:
    folder = make_bundle(**entries, weights=False)
    with pytest.raises(BrainDiffusionError, match=message):
        read_card(folder)


def test_weights_that_do_not_fit_or_hold_code_are_refused(make_bundle: Make) -> None:
    folder = make_bundle(weights=False)
    with pytest.raises(BrainDiffusionError, match="No file of weights"):
        load_generator(folder)
    torch.save({"weight": torch.zeros(3)}, folder / "models" / "model.pt")
    with pytest.raises(BrainDiffusionError, match="No file of weights"):
        load_generator(folder)
    torch.save({"weight": Path("no tensor")}, folder / "models" / "model.pt")
    with pytest.raises(BrainDiffusionError, match="hold more than tensors"):
        load_generator(folder)
    (folder / "models" / "model.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(BrainDiffusionError, match=r"damaged|more than tensors"):
        load_generator(folder)


def test_weights_inside_a_checkpoint_are_found(make_bundle: Make) -> None:
    folder = make_bundle(weights=False)
    state = {f"module.{name}": tensor for name, tensor in random_network(NETWORK).state_dict().items()}
    torch.save({"epoch": 3, "model": state}, folder / "models" / "model.pt")
    *_, last = load_generator(folder).sample([0], steps=2)
    assert last.volume().isfinite().all()


def test_without_monai_one_sentence_says_what_to_install(make_bundle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_bundle(weights=False)
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.split(".")[0] == "monai":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BrainDiffusionError, match=r"pip install 'napari-braindiffusion\[monai\]'"):
        load_generator(folder)

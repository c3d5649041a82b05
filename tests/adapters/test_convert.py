import copy
import json
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minorkey.adapters.attach import attach
from minorkey.adapters.convert import load_adapter, save_adapter, to_plain_lora
from minorkey.adapters.fingerprint import weights_sha256
from minorkey.adapters.fold import fold
from minorkey.adapters.options import MethodOptions
from minorkey.adapters.peft_layers import low_rank_layer
from minorkey.errors import AdapterError, StorageError

LOW_RANK = ["soma", "lora", "pissa"]


def _options(name: str) -> MethodOptions:
    return MethodOptions(name=name, rank=4, alpha=8.0, train_bias=True)


def _save_trained(backbone: nn.Module, train, folder: Path, name: str = "soma") -> nn.Module:
    """Attach, train and save; gives the backbone as it was before."""
    untouched = copy.deepcopy(backbone)
    attached = attach(backbone, _options(name))
    train(backbone)
    save_adapter(backbone, attached, folder, weights_sha256(untouched))
    return untouched


def test_plain_lora_is_the_difference_to_the_start() -> None:
    A, A0, B, B0 = torch.rand(2, 5), torch.rand(2, 5), torch.rand(6, 2), torch.rand(6, 2)
    plain_A, plain_B = to_plain_lora(A, B, A0, B0)
    assert plain_A.shape == (4, 5)
    assert plain_B.shape == (6, 4)
    torch.testing.assert_close(plain_B @ plain_A, B @ A - B0 @ A0)


@pytest.mark.parametrize("name", LOW_RANK)
def test_folding_gives_the_original_architecture_with_the_trained_output(backbone, features, train, name) -> None:
    original = copy.deepcopy(backbone)
    attach(backbone, _options(name))
    train(backbone)
    trained = features(backbone)
    assert (trained - features(original)).abs().max() > 1e-2
    fold(backbone)
    assert (features(backbone) - trained).abs().max() <= 1e-5
    assert [(n, type(m)) for n, m in backbone.named_modules()] == [(n, type(m)) for n, m in original.named_modules()]
    shapes = {key: tensor.shape for key, tensor in backbone.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in original.state_dict().items()}
    original.load_state_dict(backbone.state_dict())
    assert torch.equal(features(original), features(backbone))


@pytest.mark.parametrize("name", ["norm", "soma"])
def test_a_folded_network_keeps_its_precision(tiny, train, name) -> None:
    backbone = tiny("dinov2").bfloat16()
    before = {key: value.dtype for key, value in backbone.state_dict().items()}
    attach(backbone, _options(name))
    train(backbone)
    fold(backbone)
    assert {key: value.dtype for key, value in backbone.state_dict().items()} == before


def test_folding_twice_is_refused(tiny) -> None:
    backbone = tiny("dinov2")
    attach(backbone, _options("soma"))
    fold(backbone)
    with pytest.raises(AdapterError, match="Dinov2Backbone carries no adapter; it was folded in already, or attach"):
        fold(backbone)


def test_folded_backbone_can_be_adapted_again(tiny, train, features) -> None:
    wrapper = nn.ModuleDict({"backbone": tiny("dinov2")})
    attach(wrapper["backbone"], _options("soma"))
    train(wrapper)
    fold(wrapper)
    before = features(wrapper["backbone"])
    attach(wrapper["backbone"], _options("soma"))
    assert (features(wrapper["backbone"]) - before).abs().max() <= 1e-5


@pytest.mark.parametrize("name", LOW_RANK)
def test_saved_adapter_gives_the_trained_features(small_backbone, features, train, tmp_path, name) -> None:
    untouched = _save_trained(small_backbone, train, tmp_path / "adapter", name)
    load_adapter(untouched, tmp_path / "adapter")
    assert (features(untouched) - features(small_backbone)).abs().max() <= 1e-4
    assert not any(parameter.requires_grad for parameter in untouched.parameters())
    fold(untouched)
    assert (features(untouched) - features(small_backbone)).abs().max() <= 1e-4


@pytest.mark.parametrize(("name", "rank"), [("soma", 8), ("lora", 4)])
def test_saved_rank_doubles_for_residual_methods_and_scaling_stays(tiny, train, tmp_path, name, rank) -> None:
    untouched = _save_trained(tiny("dinov2"), train, tmp_path / "adapter", name)
    load_adapter(untouched, tmp_path / "adapter")
    layer = low_rank_layer(untouched, "encoder.layer.2.mlp.fc1")
    assert layer.r["default"] == rank
    assert layer.scaling["default"] == 2.0


def test_values_of_a_weight_average_can_be_saved(tiny, train, features, tmp_path) -> None:
    backbone = tiny("dinov2")
    untouched = copy.deepcopy(backbone)
    attached = attach(backbone, _options("soma"))
    average = copy.deepcopy(backbone)
    train(average)
    save_adapter(average, attached, tmp_path / "adapter", weights_sha256(untouched))
    load_adapter(untouched, tmp_path / "adapter")
    assert (features(untouched) - features(average)).abs().max() <= 1e-4


def test_bfloat16_adapter_survives_saving_to_rounding(tiny, train, features, tmp_path) -> None:
    backbone = tiny("dinov2").bfloat16()
    untouched = _save_trained(backbone, train, tmp_path / "adapter")
    load_adapter(untouched, tmp_path / "adapter")
    assert (features(untouched) - features(backbone)).abs().mean() <= 2**-6


def test_folder_holds_readable_safetensors_and_json_and_no_leftovers(tiny, train, tmp_path) -> None:
    folder = tmp_path / "run" / "adapter"
    untouched = _save_trained(tiny("dinov2"), train, folder)
    _save_trained(tiny("dinov2"), train, folder, "lora")  # replaces the first
    names = {"adapter_config.json", "adapter_model.safetensors", "minorkey.json"}
    assert {file.name for file in folder.iterdir()} == names
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o644}
    assert [file.name for file in folder.parent.iterdir()] == ["adapter"]
    provenance = json.loads((folder / "minorkey.json").read_text())
    assert provenance["base_weights_sha256"] == weights_sha256(untouched)
    assert provenance["method"]["name"] == "lora"
    assert "sha256" not in (folder / "adapter_config.json").read_text()


def test_other_base_weights_are_refused_and_left_alone(tiny, train, tmp_path) -> None:
    other = _save_trained(tiny("dinov2"), train, tmp_path / "adapter")
    with torch.no_grad():
        other.get_submodule("encoder.layer.0.mlp.fc1").weight[0, 0] += 1e-3
    before = weights_sha256(other)
    with pytest.raises(AdapterError, match=r"trained on weights with sha256 \w{12}, but these have \w{12}; load"):
        load_adapter(other, tmp_path / "adapter")
    assert weights_sha256(other) == before


def test_adapter_with_a_missing_tensor_leaves_the_backbone_as_it_was(tiny, train, tmp_path) -> None:
    untouched = _save_trained(tiny("dinov2"), train, tmp_path / "adapter")
    before = weights_sha256(untouched)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors["base_model.model.encoder.layer.2.mlp.fc1.lora_B.weight"]
    _change(file, tensors)
    with pytest.raises(AdapterError, match=r"does not fit Dinov2Backbone: 1 tensors have no counterpart, first .*fc1"):
        load_adapter(untouched, tmp_path / "adapter")
    assert weights_sha256(untouched) == before


def _change(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other tensors in an adapter of an earlier version, which had no checksums."""
    save_file(tensors, file)
    provenance = json.loads(file.with_name("minorkey.json").read_text())
    del provenance["#checksums"]
    file.with_name("minorkey.json").write_text(json.dumps(provenance))


WRONG = {
    "a layer": (".2.mlp.fc1.", None, "names layer 'encoder.*fc1' in one of its files alone"),
    "a bias": ("2.mlp.fc1.base_layer.bias", None, "1 tensors have no counterpart"),
    "a number": ("2.mlp.fc1.lora_B.weight", torch.nan, "values that are not finite"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_an_adapter_lacks_is_an_error(tiny, train, tmp_path, what: str) -> None:
    part, factor, message = WRONG[what]
    untouched = _save_trained(tiny("dinov2"), train, tmp_path / "adapter")
    before = weights_sha256(untouched)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    for name in [name for name in tensors if part in name]:
        if factor is None:
            del tensors[name]
        else:
            tensors[name] *= factor
    _change(file, tensors)
    with pytest.raises(AdapterError, match=message):
        load_adapter(untouched, tmp_path / "adapter")
    assert weights_sha256(untouched) == before


def test_a_flipped_byte_is_one_line(tiny, train, tmp_path) -> None:
    untouched = _save_trained(tiny("dinov2"), train, tmp_path / "adapter")
    for name in ("adapter_model.safetensors", "adapter_config.json", "minorkey.json"):
        file = tmp_path / "adapter" / name
        whole = file.read_bytes()
        file.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(StorageError, match=f"cannot read the adapter in .*{name}"):
            load_adapter(untouched, tmp_path / "adapter")
        file.write_bytes(whole)


def test_folder_without_an_adapter_is_named(tiny, tmp_path) -> None:
    with pytest.raises(AdapterError, match=r"no adapter saved by minorkey in .*nowhere.*config.json is missing"):
        load_adapter(tiny("dinov2"), tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "minorkey.json"])
def test_truncated_file_is_one_line(tiny, train, tmp_path, name: str) -> None:
    untouched = _save_trained(tiny("dinov2"), train, tmp_path / "adapter")
    file = tmp_path / "adapter" / name
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(StorageError, match=r"cannot read the adapter in .*save or copy it again") as caught:
        load_adapter(untouched, tmp_path / "adapter")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["full", "bias", "frozen"])
def test_methods_without_an_adapter_say_so(tiny, tmp_path, name: str) -> None:
    backbone = tiny("dinov2")
    attached = attach(backbone, MethodOptions(name=name))
    with pytest.raises(AdapterError, match=f"method '{name}' has no adapter to save; save the backbone's weights"):
        save_adapter(backbone, attached, tmp_path / "adapter", "0" * 64)


def test_failed_write_keeps_the_earlier_adapter(tiny, train, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "adapter"
    untouched = _save_trained(tiny("dinov2"), train, folder)

    def full_disk(*_args, **_kwargs) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minorkey.adapters.convert.save_file", full_disk)
    with pytest.raises(StorageError, match=r"cannot write .*the disk is full; free some space"):
        _save_trained(tiny("dinov2"), train, folder, "lora")
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["adapter"]
    load_adapter(untouched, folder)

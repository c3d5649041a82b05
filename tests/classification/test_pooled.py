"""The pooled head around every kind of backbone."""

import pytest
import torch
import torch.nn.functional as F
from plain_vits import PLAIN_VITS
from transformers import BeitBackbone, BeitConfig, ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig

from minorkey.errors import ModelError
from minorkey.models.build import backbone_of, head_state
from minorkey.models.heads.classification.pooled import PooledForImageClassification
from minorkey.models.options import HeadOptions
from minorkey.tasks.table import task_named

TASK = task_named("classification")
STAGES = ["stage1", "stage2", "stage3", "stage4"]
OTHERS = {
    "swin": lambda: SwinBackbone(
        SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2, out_features=STAGES)
    ),
    "resnet": lambda: ResNetBackbone(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=STAGES)
    ),
}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def build(make, seed=0, classes=5, **options):
    torch.manual_seed(0)
    backbone = make().eval()
    if hasattr(backbone.config, "apply_layernorm"):
        backbone.config.apply_layernorm = False  # as `load_backbone` has it
    for parameter in backbone.parameters():  # norms of their own, which a head has to take over
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return TASK.build(backbone, HeadOptions(name="pooled", **options), classes, seed).eval()


@pytest.mark.parametrize("name", PLAIN_VITS)
def test_a_plain_vit_is_pooled_behind_its_final_norm(name):
    model = build(PLAIN_VITS[name])
    backbone = backbone_of(model)
    assert model.config.pool == "both"
    with torch.no_grad():
        output = backbone(IMAGES, output_hidden_states=True)
        norm = getattr(backbone, "layernorm", None) or backbone.norm
        tokens = norm(output.hidden_states[-1])
        patches = tokens[:, -16:]
        expected = model.classifier(torch.cat([tokens[:, 0], patches.mean(1)], 1))
        torch.testing.assert_close(model(IMAGES).logits, expected)


def _beit(mean_pooling):
    config = BeitConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        use_mean_pooling=mean_pooling, out_features=["stage2"],
    )  # fmt: skip
    return BeitBackbone(config)


@pytest.mark.parametrize("mean_pooling", [True, False])
def test_the_class_token_and_norm_of_a_model_inside_the_backbone_are_found(mean_pooling):
    model = build(lambda: _beit(mean_pooling))
    inner = backbone_of(model).beit
    assert model.config.pool == "both"
    with torch.no_grad():
        tokens = model.norm(inner(IMAGES, output_hidden_states=True).hidden_states[-1])
        expected = model.classifier(torch.cat([tokens[:, 0], tokens[:, -16:].mean(1)], 1))
        torch.testing.assert_close(model(IMAGES).logits, expected)
    if not mean_pooling:  # else there is no norm behind the last block
        assert torch.equal(model.norm.weight, inner.layernorm.weight)


def test_the_final_norm_of_a_swin_is_taken():
    model = build(OTHERS["swin"])
    assert torch.equal(model.norm.bias, backbone_of(model).swin.layernorm.bias)
    assert model.norm.bias.any()


def test_tokens_are_those_of_the_last_block_that_is_chosen():
    def early():
        backbone = PLAIN_VITS["dinov2"]()
        backbone.config.out_features = ["stage1"]
        return backbone

    model = build(early)
    with torch.no_grad():
        hidden = backbone_of(model)(IMAGES, output_hidden_states=True).hidden_states[1]
        expected = torch.cat([model.norm(hidden)[:, 0], model.norm(hidden)[:, -16:].mean(1)], 1)
        torch.testing.assert_close(model.pooled(IMAGES), expected)
    assert TASK.heads.resolve("pooled").stock(model) is None


@pytest.mark.parametrize("pool", ["class", "mean", "both"])
def test_parts_can_be_pooled_alone(pool):
    model = build(PLAIN_VITS["dinov2"], pool=pool)
    assert model(IMAGES).logits.shape == (2, 5)
    assert model.classifier.in_features == (64 if pool == "both" else 32)


@pytest.mark.parametrize("name", OTHERS)
def test_other_backbones_are_pooled_by_their_mean_and_have_no_class_token(name):
    model = build(OTHERS[name])
    assert model.config.pool == "mean"
    assert model(IMAGES).logits.shape == (2, 5)
    with pytest.raises(ModelError, match=f"head.pool is class, but a {name} has no class token; set it to mean"):
        build(OTHERS[name], pool="class")


def test_the_head_alone_depends_on_the_seed():
    one, same, other = (build(PLAIN_VITS["dinov2"], seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert set(head_state(one)) == {"norm.weight", "norm.bias", "classifier.weight", "classifier.bias"}


def test_losses_smooth_labels_and_weigh_classes():
    model = build(PLAIN_VITS["dinov2"], label_smoothing=0.2, class_weights=[1, 2, 3, 4, 5])
    labels = torch.tensor([1, 4])
    output = model(IMAGES, labels=labels)
    target = 0.8 * F.one_hot(labels, 5) + 0.2 / 5
    each = -(target * output.logits.log_softmax(1)).sum(1) * torch.tensor([2.0, 5.0])
    torch.testing.assert_close(output.loss, each.mean())
    with pytest.raises(ModelError, match="head.class_weights has 2 numbers for 5 classes"):
        build(PLAIN_VITS["dinov2"], class_weights=[1, 2])


def test_it_is_saved_and_loaded_as_any_model(tmp_path):
    model = build(OTHERS["swin"])
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(
        PooledForImageClassification.from_pretrained(tmp_path)(IMAGES).logits, model(IMAGES).logits
    )


@pytest.mark.parametrize("name", ["dinov2", "registers", "dinov3"])
def test_what_a_class_of_transformers_computes_too_becomes_one(name):
    model = build(PLAIN_VITS[name])
    stock = TASK.heads.resolve("pooled").stock(model)
    assert (stock is None) == (name == "dinov3")
    if stock is not None:
        assert type(stock).__module__.startswith("transformers.")
        torch.testing.assert_close(stock(IMAGES).logits, model(IMAGES).logits)
    assert TASK.heads.resolve("pooled").stock(build(PLAIN_VITS[name], pool="mean")) is None

import pytest
import torch
from plain_vits import PLAIN_VITS, VIT
from transformers import BeitBackbone, BeitConfig, ConvNextBackbone, ConvNextConfig, SwinBackbone, SwinConfig

from minorkey.adapters import MethodOptions, attach
from minorkey.errors import ModelError
from minorkey.models.build import backbone_of
from minorkey.models.features import FeatureTap
from minorkey.models.modes import checkpoint_blocks
from minorkey.models.options import HeadOptions
from minorkey.models.segmenters import SEGMENTATION_HEADS
from minorkey.regimes.self_training.token_dropping import dropped_tokens, kept_indices, nearest_kept
from minorkey.tasks.segmentation.task import Segmentation

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SMALL = {"channels": 32, "queries": 4, "points": 50, "decoder_layers": 1, "encoder_layers": 1}
HEIGHT, WIDTH = 6, 10  # in tokens
SWIN = {"embed_dim": 8, "depths": [1] * 4, "num_heads": [2] * 4, "image_size": 32, "window_size": 2}
OTHERS = {
    "swin": lambda: SwinBackbone(SwinConfig(**SWIN)),
    "convnext": lambda: ConvNextBackbone(ConvNextConfig(hidden_sizes=[8, 12, 16, 24], depths=[1] * 4)),
    "beit": lambda: BeitBackbone(BeitConfig(**VIT, intermediate_size=32)),
}


@pytest.fixture
def image():
    return torch.randn(2, 3, 8 * HEIGHT, 8 * WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def square():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def _model(name="dinov2", head="semfpn", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = PLAIN_VITS[name]()
        for parameter in backbone.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    backbone.config.apply_layernorm = False
    backbone.out_features = STAGES
    return Segmentation().build(backbone, HeadOptions(name=head, **SMALL, **options), 3, seed=0).eval()


def _answer(output):
    return output.logits if "logits" in output else output.masks_queries_logits


def _generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("name", "head"),
    [*((name, "semfpn") for name in PLAIN_VITS), *(("dinov2", head) for head in [*SEGMENTATION_HEADS.shipped])],
)
@torch.no_grad()
def test_nothing_dropped_is_the_plain_output_bit_for_bit(name, head, square):
    model = _model(name, head)
    with dropped_tokens(model, ratio=0.0) as dropping:
        output = _answer(model(pixel_values=square))
    assert torch.equal(output, _answer(model(pixel_values=square)))
    assert dropping.kept.all()
    assert dropping.kept.shape == (2, 4, 4)


def _blocks_alone(backbone, image, kept):
    """Outputs of the blocks, each `(prefix + n, C)`, for one image and the flat indices of its kept patches."""
    tokens = backbone.embeddings(image[None])
    prefix = tokens.shape[1] - HEIGHT * WIDTH
    tokens = torch.stack([*tokens[0, :prefix], *(tokens[0, prefix + i] for i in kept)])[None]
    rotary = {}
    if backbone.config.model_type == "dinov3_vit":
        rotary = {"position_embeddings": tuple(each[kept] for each in backbone.rope_embeddings(image[None]))}
    outputs = []
    for block in backbone.model.layer if rotary else backbone.encoder.layer:
        tokens = block(tokens, **rotary)
        outputs.append(tokens[0, prefix:])
    return outputs


@pytest.mark.parametrize("name", PLAIN_VITS)
@torch.no_grad()
def test_kept_tokens_are_those_of_a_plain_pass_over_them_alone(name, image):
    backbone = backbone_of(_model(name))
    model = _model(name)
    with dropped_tokens(model, 0.7, _generator()) as dropping:
        maps = backbone_of(model)(image).feature_maps
    assert dropping.kept.shape == (2, HEIGHT, WIDTH)
    assert dropping.kept.sum(dim=(1, 2)).tolist() == [18, 18]  # 30 % of 60
    assert not torch.equal(dropping.kept[0], dropping.kept[1])
    for i in range(2):
        kept = [place for place, stays in enumerate(dropping.kept[i].flatten().tolist()) if stays]
        for tokens, feature_map in zip(_blocks_alone(backbone, image[i], kept)[:3], maps, strict=False):
            torch.testing.assert_close(feature_map[i].flatten(1)[:, kept].T, tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PLAIN_VITS)
@torch.no_grad()
def test_dropped_positions_repeat_a_nearest_kept_token(name, image):
    model = _model(name)
    with dropped_tokens(model, 0.7, _generator()) as dropping:
        feature_map = backbone_of(model)(image).feature_maps[2]
    for i in range(2):
        kept = [tuple(place) for place in dropping.kept[i].nonzero().tolist()]
        for y in range(HEIGHT):
            for x in range(WIDTH):
                far = {(r, c): (r - y) ** 2 + (c - x) ** 2 for r, c in kept}
                nearest = [place for place, distance in far.items() if distance == min(far.values())]
                assert any(torch.equal(feature_map[i, :, y, x], feature_map[i, :, r, c]) for r, c in nearest)


def test_ties_are_broken_by_the_scores():
    """The middle of a cross: each of its four neighbours is taken as often."""
    taken = []
    for seed in range(400):
        scores = torch.rand(1, 9, generator=torch.Generator().manual_seed(seed))
        taken.append(nearest_kept(torch.tensor([[1, 3, 5, 7]]), 3, scores)[0, 4].item())
    assert min(taken.count(i) for i in range(4)) > 70


@pytest.mark.parametrize(("ratio", "count"), [(0.0, 10), (0.7, 3), (0.99, 1)])
def test_as_many_as_asked_for_and_at_least_one(ratio, count):
    indices = kept_indices(torch.rand(5, 10, generator=_generator()), ratio)
    assert indices.shape == (5, count)
    assert all(sorted(set(row)) == row for row in indices.tolist())


@pytest.mark.parametrize("name", PLAIN_VITS)
@torch.no_grad()
def test_blocks_see_the_kept_tokens_alone(name, image):
    model = _model(name)
    seen = []
    blocks = [module for key, module in backbone_of(model).named_modules() if key.endswith("mlp")]
    for block in blocks:
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape[1]))
    prefix = {"dinov2": 1, "dinov2 swiglu": 1}.get(name, 4)
    with dropped_tokens(model, 0.7):
        model(pixel_values=image)
    assert seen == [prefix + 18] * 4
    model(pixel_values=image)
    assert seen[4:] == [prefix + 60] * 4


@torch.no_grad()
def test_the_first_blocks_of_an_eomt_see_the_kept_tokens_alone(square):
    model = _model("dinov2", "eomt", query_blocks=1)
    seen = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[1]))
    with dropped_tokens(model, 0.5):
        assert _answer(model(pixel_values=square)).shape == (2, 4, 16, 16)
    assert seen == [1 + 8, 1 + 8, 1 + 8, 4 + 1 + 16]


@pytest.mark.parametrize("head", ["linear", "semfpn", "mask2former", "eomt"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_learn_and_every_feature_is_finite(head, checkpointing, square):
    model = _model("dinov2", head)
    attached = attach(backbone_of(model), MethodOptions(name="lora", rank=2))
    if checkpointing:
        checkpoint_blocks(model)
    model.train()
    with dropped_tokens(model, 0.7, _generator()), FeatureTap(model) as tap:
        output = _answer(model(pixel_values=square))
    (output.square().mean() + tap.features.square().mean()).backward()
    assert tap.features.shape == (2, 32, 4, 4)
    for name, parameter in attached.trained_parameters().items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_each_pass_draws_anew_and_no_hook_stays_behind(image):
    model = _model("dinov3")
    before = [len(module._forward_hooks) for module in model.modules()]
    with dropped_tokens(model, 0.5) as dropping:
        model(pixel_values=image)
        first = dropping.kept
        model(pixel_values=image)
        assert not torch.equal(first, dropping.kept)
    with pytest.raises(RuntimeError), dropped_tokens(model):
        raise RuntimeError
    assert [len(module._forward_hooks) for module in model.modules()] == before


@pytest.mark.parametrize("kind", ["swin", "convnext", "beit"])
def test_other_backbones_are_refused(kind):
    backbone = OTHERS[kind]()
    backbone.out_features = STAGES
    model = Segmentation().build(backbone, HeadOptions(name="linear"), 3, seed=0)
    message = f"backbones dinov2, .*, got {kind}; mask pixels instead of tokens"
    with pytest.raises(ModelError, match=message), dropped_tokens(model):
        pass


@pytest.mark.parametrize(
    ("name", "blocks", "message"),
    [("dinov2", 4, "all 4 blocks of this eomt see queries"), ("dinov3", 1, "eomt_dinov3")],
)
def test_an_eomt_that_cannot(name, blocks, message):
    model = _model(name, "eomt", query_blocks=blocks)
    before = [len(module._forward_hooks) for module in model.modules()]
    with pytest.raises(ModelError, match=message), dropped_tokens(model):
        pass
    assert [len(module._forward_hooks) for module in model.modules()] == before

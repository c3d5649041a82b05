"""TransDA's discrepancy against plain loops over positions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minorkey.regimes.transda.discrepancy import (
    adversarial_loss,
    counting,
    discriminator_loss,
    domain_loss,
    log_probabilities,
    min_max,
    normalised_entropy,
    shown_at,
    soft_labels,
    source_weights,
    target_weights,
)

B, K, H, W = 2, 3, 8, 12
SMALL = (4, 6)


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: 3 * torch.randn(*shape, generator=generator)


def _softmax(values):
    shifted = np.exp(values - values.max())
    return shifted / shifted.sum()


def _positions(tensor):
    """The channels of a map (B, C, h, w) at each position, as arrays of float64."""
    return [vector for image in tensor.double().numpy() for vector in image.reshape(len(image), -1).T]


def _entropies(logits, temperature):
    found = []
    for vector in _positions(logits):
        shares = _softmax(vector / temperature)
        found.append(-sum(p * math.log(p) for p in shares) / math.log(len(shares)))
    return np.array(found)


def _stretched(values):
    return (values - values.min()) / (values.max() - values.min())


def _sigmoid(logits):
    return np.array([1 / (1 + math.exp(-vector[0])) for vector in _positions(logits)])


def _resized(logits):
    return F.interpolate(logits, size=SMALL, mode="bilinear", align_corners=False)


def _same(actual, expected):
    np.testing.assert_allclose(actual.detach().double().numpy().ravel(), np.ravel(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_entropy(draw, temperature):
    logits = draw(B, K, H, W)
    _same(normalised_entropy(logits, temperature), _entropies(logits, temperature))


def test_entropy_is_0_where_sure_and_1_where_all_classes_are_alike():
    sure = log_probabilities(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
    _same(normalised_entropy(torch.cat([sure, torch.full((1, 3, 1, 1), 7.0)])), [0, 1])


def test_log_probabilities_stand_for_logits(draw):
    """At any temperature, and after a resize: they differ by a constant at each position."""
    logits, domain = draw(B, K, H, W), draw(B, 1, *SMALL)
    stand_in = log_probabilities(logits.softmax(1))
    assert (stand_in - logits).abs().min() > 1e-3
    torch.testing.assert_close(source_weights(stand_in, domain), source_weights(logits, domain))
    torch.testing.assert_close(target_weights(stand_in, domain), target_weights(logits, domain))
    torch.testing.assert_close(soft_labels(stand_in, domain), soft_labels(logits, domain))


def test_weights(draw):
    logits, domain = draw(B, K, H, W).requires_grad_(), draw(B, 1, *SMALL).requires_grad_()
    of_source, of_target = source_weights(logits, domain), target_weights(logits, domain)
    assert of_source.shape == of_target.shape == (B, *SMALL)
    assert not of_source.requires_grad
    assert not of_target.requires_grad
    logits, domain = _resized(logits.detach()), domain.detach()
    _same(of_source, _stretched(_entropies(logits, 10) - _sigmoid(domain)))
    _same(of_target, _stretched(_sigmoid(domain) - _entropies(logits, 1)))


def test_values_that_are_all_equal_count_in_full():
    assert torch.equal(min_max(torch.full((2, 3), 0.4)), torch.ones(2, 3))


def test_soft_labels_are_clipped(draw):
    labels = soft_labels(draw(B, K, H, W), torch.empty(B, 5, *SMALL))
    assert labels.max() == torch.tensor(0.9)
    _same(
        soft_labels(torch.tensor([9.0, 0, 0]).view(1, 3, 1, 1), torch.empty(1, 1, 1, 1)),
        [0.9, *[1 / (math.exp(9) + 2)] * 2],
    )


def test_binary_losses(draw):
    of_source, of_target = draw(B, 1, *SMALL), draw(B, 1, *SMALL)
    w_s, w_t = draw(B, *SMALL).sigmoid(), draw(B, *SMALL).sigmoid()
    s, t = _sigmoid(of_source), _sigmoid(of_target)
    plain_s, plain_t = w_s.double().numpy().ravel(), w_t.double().numpy().ravel()
    _same(adversarial_loss(of_source, w_s), np.mean([-w * math.log(1 - p) for w, p in zip(plain_s, s, strict=True)]))
    expected = 0.5 * np.mean(-plain_s * np.log(s)) + 0.5 * np.mean(-plain_t * np.log(1 - t))
    _same(discriminator_loss(of_source, of_target, w_s, w_t), expected)
    _same(discriminator_loss(of_source, of_target), 0.5 * np.mean(-np.log(s)) + 0.5 * np.mean(-np.log(1 - t)))


def test_classwise_losses(draw):
    of_source, of_target = draw(B, 2 * K, *SMALL), draw(B, 2 * K, *SMALL)
    w_s, w_t = draw(B, *SMALL).sigmoid(), draw(B, *SMALL).sigmoid()
    y_s, y_t = (soft_labels(draw(B, K, H, W), of_source) for _ in range(2))

    def plain(prediction, weights, labels, name):
        total = []
        for vector, weight, label in zip(
            _positions(prediction), weights.double().numpy().ravel(), _positions(labels), strict=True
        ):
            wanted = [0.0] * K + list(label) if name == "source" else list(label) + [0.0] * K
            shares = _softmax(vector)
            total.append(-weight * sum(y * math.log(p) for y, p in zip(wanted, shares, strict=True)))
        return sum(total) / len(total)

    _same(adversarial_loss(of_source, w_s, y_s), plain(of_source, w_s, y_s, "target"))
    expected = 0.5 * plain(of_source, w_s, y_s, "source") + 0.5 * plain(of_target, w_t, y_t, "target")
    _same(discriminator_loss(of_source, of_target, w_s, w_t, y_s, y_t), expected)


def test_losses_of_sure_discriminators_are_finite():
    sure = torch.full((1, 1, 2, 2), 200.0, requires_grad=True)
    loss = adversarial_loss(sure, torch.ones(1, 2, 2))
    loss.backward()
    assert loss == 200
    assert torch.equal(sure.grad, torch.full_like(sure, 0.25))


def test_positions_without_an_image_count_nowhere():
    torch.manual_seed(0)
    filled = torch.ones(2, 32, 48, dtype=torch.bool)
    filled[1, :, 16:] = False
    shown = shown_at(filled, torch.zeros(2, 3, 4, 6))
    assert shown[0].all()
    assert shown[1].nonzero()[:, 1].unique().tolist() == [0, 1]
    prediction, values = torch.randn(2, 1, 4, 6), torch.rand(2, 4, 6)
    expected = np.mean(
        [
            float(values[b, y, x] * np.log1p(np.exp(-float(prediction[b, 0, y, x]))))
            for b in range(2)
            for y in range(4)
            for x in range(6)
            if b == 0 or x < 2
        ]
    )
    loss = domain_loss(prediction, source=True, weights=values * counting(shown))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    stretched = min_max(torch.where(shown, values, 99.0), shown)[shown]
    inside = values[shown]
    torch.testing.assert_close(stretched, (inside - inside.min()) / (inside.max() - inside.min()))


def test_a_batch_without_padding_counts_everywhere_alike():
    assert torch.equal(counting(torch.ones(2, 3, 4, dtype=torch.bool)), torch.ones(2, 3, 4))

"""A classifier in one graph."""

from torch import Tensor, nn
from transformers.utils import ModelOutput

from minorkey.tasks.deployed import Deployed, Outputs, largest_difference

SCRIPT = '''\
def predict(name):
    """Say the class of an image."""
    (logits,), _ = look(opened(name))
    shares = np.exp(logits - logits.max())
    print(f"{name}: {ABOUT['classes'][int(shares.argmax())]} {shares.max() / shares.sum():.3f}")
'''


class Logits(nn.Module):
    """Logits `(B, K)` of images."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Of normalised images `(B, 3, H, W)`."""
        return (self.model(pixel_values=images).logits.float(),)


def deployed(model: nn.Module) -> Deployed:
    """A classifier's logits; images are brought to one size before, as they were in training."""
    return Deployed(
        network=Logits(model),
        outputs={"logits": "(B, K) float32: of each class; softmax makes probabilities of them"},
        difference=largest_difference,
        script=SCRIPT,
        any_size=False,
    )


def from_deployed(outputs: Outputs) -> ModelOutput:
    """As the model gave them."""
    return ModelOutput(logits=outputs["logits"])

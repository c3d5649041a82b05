"""The discriminator of TransDA (arXiv 2203.07988), and how features meet it without teaching it."""

from torch import Tensor, nn
from torch.func import functional_call


class Discriminator(nn.Sequential):
    """Tells at every position of a feature map which domain it is of.

    Args:
        channels: C of the feature maps `(B, C, h, w)`, at least 2.
        outputs: channels of the prediction `(B, outputs, h, w)`: 1 logit of "source", or 2K for K classes.
    """

    def __init__(self, channels: int, outputs: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels // 2, kernel_size=3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels // 2, outputs, kernel_size=3, padding=1),
        )


def frozen_call(module: nn.Module, features: Tensor) -> Tensor:
    """`module(features)` whose gradient reaches the features alone: the parameters count as constants.

    Of a network wrapped for data parallelism give the module inside.
    """
    constants = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return functional_call(module, constants, (features,))

"""What a training changes in a model with an adapter."""

from torch import Tensor, nn

from minorkey.adapters.attached import Attached
from minorkey.models.build import head_state


def trained_tensors(attached: Attached, model: nn.Module) -> dict[str, Tensor]:
    """What training changes, by its name in the checkpoint: the adapter's trained tensors and the head.

    The parameters and buffers themselves, so that what is collected once is of now whenever it is read, also after
    their memory was exchanged.
    """
    inside, whole = attached.backbone.state_dict(keep_vars=True), model.state_dict(keep_vars=True)
    adapter = {f"adapter.trained.{name}": inside[name] for name in attached.trained_tensors()}
    return adapter | {f"head.{name}": whole[name] for name in head_state(model)}

"""Hooks of a layer, kept alive by what takes its place."""

from torch import nn

HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)
"""Where torch keeps those of a module."""


def hand_over_hooks(before: nn.Module, after: nn.Module) -> None:
    """Give a module the hooks of the one whose place it takes; their handles remove them there.

    A layer that is wrapped may not be called at all and, if it is, gives a part of the output; so they see the whole.
    """
    own = {name: before.__dict__[name] for name in HOOKS}
    if any(value for value in own.values()):
        before.__dict__.update({name: after.__dict__[name] for name in HOOKS})
        after.__dict__.update(own)

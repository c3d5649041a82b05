"""A pytest plugin for `make test-timm`: lets torchvision's CUDA build be imported beside a CPU build of torch.

There is no CPU build of torchvision on the package index. Its CUDA build fails to load its compiled operators here,
and then to describe them, as they do not exist. timm needs none of them: their names are enough. Where they do
load, this plugin is not needed and must not be given. It comes before the first import of transformers.
"""

import torch

OPERATORS = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

"""Pretrained backbones and the segmentation models built around them."""

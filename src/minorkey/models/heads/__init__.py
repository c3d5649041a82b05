"""Dense heads that transformers lacks, with the signature and outputs of its own segmentation models."""

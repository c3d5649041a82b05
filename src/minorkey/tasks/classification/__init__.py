"""Image classification: one class for an image as a whole."""

"""A local page to try runs on: an image or a camera, several runs side by side, corrupted, and where they part."""

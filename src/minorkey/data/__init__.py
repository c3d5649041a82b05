"""From images on disk, or the built-in world, to batches: samples, readers, transforms, loaders."""

"""Video: clips and streams decoded frame by frame, and what was predicted of them encoded."""

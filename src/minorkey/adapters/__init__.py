"""Low-rank adapters: which layers, how they start, what trains, and how they are saved and folded in."""

"""How a training uses its data: what one step computes."""

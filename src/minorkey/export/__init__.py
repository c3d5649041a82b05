"""What a run is to others: a stock PEFT adapter, or a transformers folder with everything folded in."""

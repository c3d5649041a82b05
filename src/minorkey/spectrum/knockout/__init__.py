"""What a model loses when groups of singular components are removed."""

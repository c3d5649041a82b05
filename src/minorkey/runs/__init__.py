"""The life of a run: assemble, train, fit, evaluate, predict."""

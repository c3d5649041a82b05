"""Self-training: a teacher labels the target."""

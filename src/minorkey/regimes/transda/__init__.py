"""TransDA: adversarial adaptation in rounds."""

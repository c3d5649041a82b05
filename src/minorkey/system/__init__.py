"""What every room stands on: processes, launch, storage, progress, run folders."""

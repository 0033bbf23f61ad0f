"""Run folders: options, rows, checkpoints, progress."""

"""Stack check, checkpoints, data folders, distributed start and command line."""

"""Strict loading of checkpoints, and key conversion."""

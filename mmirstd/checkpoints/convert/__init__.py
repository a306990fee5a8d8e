"""Conversion of published checkpoints, one file a source."""

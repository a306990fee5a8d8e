"""Synthetic infrared scenes with small targets."""

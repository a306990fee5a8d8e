"""Breakdowns, reports and saved predictions."""

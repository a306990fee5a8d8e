"""Pure functions on arrays and tensors, shared by data, models and metrics."""

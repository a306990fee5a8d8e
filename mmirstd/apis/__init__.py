"""What users call: one function for each thing to do."""

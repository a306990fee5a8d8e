"""How a sample is loaded, and the pipeline of validation and test: images keep their size."""

load_pipeline = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
test_pipeline = [*load_pipeline, dict(type='mmirstd.PackIRSTDInputs')]

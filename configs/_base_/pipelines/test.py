"""How a sample is loaded, and the pipeline of validation and test: images keep their size."""

load_pipeline = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
# The same two, by the names that MMSegmentation's inferencers look for.
test_pipeline = [
    dict(type='LoadImageFromFile', _scope_='mmirstd'),
    dict(type='LoadAnnotations', _scope_='mmirstd'),
    dict(type='mmirstd.PackIRSTDInputs'),
]

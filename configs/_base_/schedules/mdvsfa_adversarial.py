"""The training of MDvsFA: an Adam for each generator and, ten times slower, one for the discriminator."""

_base_ = './mdvsfa.py'
_generator = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.5, 0.999)))
optim_wrapper = dict(
    _delete_=True,
    constructor='mmirstd.PartsOptimWrapperConstructor',
    discriminator=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-5, betas=(0.5, 0.999))),
    generator1=_generator,
    generator2=_generator,
)

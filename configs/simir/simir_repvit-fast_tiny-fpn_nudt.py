"""Ablation: a pyramid without queries and intermediate mask; those of the encoder go to the decoder."""

_base_ = './simir_repvit-fast_nudt.py'
model = dict(
    neck=dict(_delete_=True, type='mmirstd.TinyFPN', in_channels=[32] * 4, out_channels=48, norm_cfg=dict(type='BN')),
    decode_head=dict(channels=64, num_queries=4, prompt_channels=None, aux_weights=dict(_delete_=True, early=0.3)),
)

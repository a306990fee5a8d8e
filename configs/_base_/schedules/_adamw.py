"""AdamW that decays neither norms nor the queries of SimIR."""

_base_ = './_loops.py'
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW'),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={
            key: dict(decay_mult=0.0) for key in ('queries', 'query_pos', 'level_embed', 'decoder_query', 'token_pos')
        },
    ),
)

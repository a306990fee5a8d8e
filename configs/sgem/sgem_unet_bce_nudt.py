# Binary cross-entropy beside equation 4, which alone cannot come back from an all-black prediction.
_base_ = './sgem_unet_nudt.py'
model = dict(
    decode_head=dict(
        loss_decode=[
            dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=1.0),
            dict(type='mmirstd.SoftIoULoss', per_image=False, loss_weight=1.0),
        ]
    )
)

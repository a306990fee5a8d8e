# Plain fine-tuning of SAM: no WPMD, no edge.
_base_ = './irsam_samvit-b_nuaa.py'
sam = dict(type='Pretrained', checkpoint='data/weights/sam_vit_b_01ec64.pth')
model = dict(
    backbone=dict(_delete_=True, type='mmirstd.SAMViT', arch='b', with_cp=True, init_cfg=sam),
    decode_head=dict(with_edge=False, loss_edge=None, early_channels=None),
)

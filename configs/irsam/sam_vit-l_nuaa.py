_base_ = './sam_vit-b_nuaa.py'
sam = dict(type='Pretrained', checkpoint='data/weights/sam_vit_l_0b3195.pth')
model = dict(backbone=dict(arch='l', init_cfg=sam), decode_head=dict(init_cfg=sam))

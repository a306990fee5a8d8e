_base_ = './sam_vit-b_nuaa.py'
sam = dict(type='Pretrained', checkpoint='data/weights/sam_vit_h_4b8939.pth')
model = dict(backbone=dict(arch='h', init_cfg=sam), decode_head=dict(init_cfg=sam))

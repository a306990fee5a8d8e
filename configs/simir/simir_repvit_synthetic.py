_base_ = [
    '../_base_/models/simir_repvit.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/pipelines/flip.py',
    '../_base_/schedules/simir.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(dataset=dict(pipeline={{_base_.train_pipeline}}))

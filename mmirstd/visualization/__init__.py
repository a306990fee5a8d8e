"""Pictures: images with their detected, missed and false targets, stages of a pipeline, curves."""

from mmirstd.visualization.canvas import to_display
from mmirstd.visualization.detections import draw_detections
from mmirstd.visualization.tensorboard import OptionalTensorboardVisBackend
from mmirstd.visualization.visualizer import IRSTDVisualizer

__all__ = ['IRSTDVisualizer', 'OptionalTensorboardVisBackend', 'draw_detections', 'to_display']

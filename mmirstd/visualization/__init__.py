"""Pictures of what was detected, missed and invented."""

from mmirstd.visualization.visualizer import IRSTDVisualizer, draw_detections, to_display

__all__ = ['IRSTDVisualizer', 'draw_detections', 'to_display']

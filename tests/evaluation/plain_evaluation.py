"""The usual evaluation, plainly: one pass for IoU, one for nIoU, one for Pd and Fa, component by component.

It follows the definitions of DNANet's and ACM's published evaluation with one correction: a false component is one that
was not matched. Tests compare with it, and the benchmark measures against it.
"""

import math

import numpy as np
from scipy import ndimage


def flood_fill(mask, connectivity):
    """Component labels in raster order of the first pixels, in pure Python."""
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    if connectivity == 8:
        steps += [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    height, width = mask.shape
    labels, number = np.zeros(mask.shape, int), 0
    for row in range(height):
        for col in range(width):
            if not mask[row, col] or labels[row, col]:
                continue
            number += 1
            labels[row, col] = number
            stack = [(row, col)]
            while stack:
                r, c = stack.pop()
                for dr, dc in steps:
                    rr, cc = r + dr, c + dc
                    if 0 <= rr < height and 0 <= cc < width and mask[rr, cc] and not labels[rr, cc]:
                        labels[rr, cc] = number
                        stack.append((rr, cc))
    return labels, number


def scipy_label(mask, connectivity):
    return ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)


def regions(mask, connectivity, label):
    """Per component: number, area, centroid (row, column)."""
    labels, number = label(mask, connectivity)
    found = []
    for k in range(1, number + 1):
        coords = np.argwhere(labels == k)
        found.append((k, len(coords), coords.mean(axis=0)))
    return found


def pd_fa(pred, gt, distance=3.0, connectivity=8, label=scipy_label):
    """Targets, detected, components, false components, false pixels, pairs (target, component) from 0."""
    predicted, targets = regions(pred, connectivity, label), regions(gt, connectivity, label)
    components, pairs = len(predicted), []
    for target, _, (row, col) in targets:
        for i, (component, _, (r, c)) in enumerate(predicted):
            if math.sqrt((row - r) ** 2 + (col - c) ** 2) < distance:
                pairs.append((target - 1, component - 1))
                del predicted[i]
                break
    false_pixels = sum(area for _, area, _ in predicted)
    return len(targets), len(pairs), components, len(predicted), false_pixels, pairs


def pixel_counts(pred, gt):
    """tp, fp, fn from histograms of the class maps, as the IoU of most repositories."""
    pred, gt = pred.astype(np.int64), gt.astype(np.int64)
    hit = pred * (pred == gt)
    inter, _ = np.histogram(hit, bins=1, range=(1, 1))
    area_pred, _ = np.histogram(pred, bins=1, range=(1, 1))
    area_gt, _ = np.histogram(gt, bins=1, range=(1, 1))
    tp = int(inter[0])
    return tp, int(area_pred[0]) - tp, int(area_gt[0]) - tp


class PlainStack:
    """Three accumulators that each go over the image, as three metric classes would."""

    def __init__(self, distance=3.0, connectivity=8, label=scipy_label):
        self.options = (distance, connectivity, label)
        self.pixels = self.tp = self.fp = self.fn = 0
        self.ious = []
        self.objects = np.zeros(5, int)
        self.seen = 0

    def update(self, prob, gt, threshold=0.5, ignore=255):
        valid = gt != ignore
        pred, target = (prob > threshold) & valid, (gt == 1) & valid
        self.pixels += int(valid.sum())
        self.seen += 1
        tp, fp, fn = pixel_counts(pred, target)
        self.tp, self.fp, self.fn = self.tp + tp, self.fp + fp, self.fn + fn
        tp, fp, fn = pixel_counts(pred, target)
        self.ious.append(tp / (tp + fp + fn) if tp + fp + fn else None)
        self.objects += pd_fa(pred, target, *self.options)[:5]

    def get(self, empty='skip'):
        targets, detected, _, _, false_pixels = self.objects.tolist()
        ious = [empty if iou is None else iou for iou in self.ious if not (iou is None and empty == 'skip')]
        nan = float('nan')
        return {
            'IoU': self.tp / (self.tp + self.fp + self.fn) if self.tp + self.fp + self.fn else nan,
            'nIoU': sum(ious) / len(ious) if ious else nan,
            'Pd': detected / targets if targets else nan,
            'Fa': false_pixels / self.pixels * 1e6 if self.pixels else nan,
            'precision': self.tp / (self.tp + self.fp) if self.tp + self.fp else nan,
            'recall': self.tp / (self.tp + self.fn) if self.tp + self.fn else nan,
            'F1': 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp + self.fp + self.fn else nan,
        }

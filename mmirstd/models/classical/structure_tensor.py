"""Edges and corners of an image, from the eigenvalues of its structure tensor."""

import cv2
import numpy as np


def structure_eigenvalues(
    image: np.ndarray, gradient_scale: float, window_scale: float, size: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Return the larger and the smaller eigenvalue of the structure tensor of each pixel.

    Both are large at a corner, and only the larger at an edge.

    Args:
        image: (H, W) float64, at least 2 x 2.
        gradient_scale: Standard deviation in pixels of the Gaussian that the image is smoothed by.
        window_scale: That of the Gaussian over which products of gradients are averaged.
        size: Side of both Gaussians in pixels.
    """

    def smooth(values: np.ndarray, scale: float) -> np.ndarray:
        return cv2.GaussianBlur(values, (size, size), scale, borderType=cv2.BORDER_REFLECT)

    down, right = np.gradient(smooth(image, gradient_scale))
    xx, xy, yy = (smooth(product, window_scale) for product in (right**2, right * down, down**2))
    center, half = (xx + yy) / 2, np.sqrt((xx - yy) ** 2 + 4 * xy**2) / 2
    return center + half, center - half

"""Deformable convolution in plain torch against torchvision's operator."""

import pytest
import torch

from mmirstd.models.layers import deformable_conv2d

deform_conv2d = pytest.importorskip('torchvision.ops').deform_conv2d


@pytest.mark.parametrize('kernel_size', [(3, 3), (1, 3), (3, 1), (5, 1)])
@pytest.mark.parametrize('size', [(7, 9), (1, 4)])
def test_equals_torchvision(kernel_size, size):
    torch.manual_seed(0)
    points = kernel_size[0] * kernel_size[1]
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    # Points that leave the map, by less and by more than a pixel.
    offset = 3 * torch.randn(2, 2 * points, *size, dtype=torch.float64)
    modulation = torch.rand(2, points, *size, dtype=torch.float64)
    weight, bias = torch.randn(4, 3, *kernel_size, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    padding = (kernel_size[0] // 2, kernel_size[1] // 2)
    expected = deform_conv2d(x, offset, weight, bias, padding=padding, mask=modulation)
    torch.testing.assert_close(deformable_conv2d(x, offset, modulation, weight, bias), expected)

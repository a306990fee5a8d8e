import numpy as np
import torch

from mmirstd.ops.gradients import gradient_magnitude


def test_gradient_is_the_length_of_central_differences():
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    right = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    np.testing.assert_allclose(gradient_magnitude(x, eps=0.5), np.sqrt(down**2 + right**2 + 0.5), rtol=1e-12)


def test_flat_images_have_a_finite_derivative():
    x = torch.full((1, 1, 4, 4), 7.0, requires_grad=True)
    gradient_magnitude(x).sum().backward()
    assert x.grad.isfinite().all()

"""WPMD against plain references: brute force, cycle spinning, Perona-Malik diffusion, Gaussian smoothing."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import DefaultScope
from mmseg.models.backbones import ResNet
from scipy import ndimage, optimize
from scipy.integrate import solve_ivp
from torch import nn

from mmirstd.models.layers import WPMDBlock, detail_scale, wavelet_diffusion
from mmirstd.models.layers.wpmd import bounded_gate
from mmirstd.ops import diffusion
from mmirstd.registry import MODELS

FORMS = [
    dict(),
    dict(coupled=False),
    dict(levels=3),
    dict(decimated=True),
    dict(decimated=True, levels=2, coupled=False),
    dict(wavelet='db2'),
    dict(wavelet='linear', levels=2),
    dict(wavelet='cubic', coupled=False),
]
NAMES = [str(form) for form in FORMS]
SIZES = [(1, 1), (1, 9), (8, 1), (2, 3), (13, 17)]


def images(*shape, seed=0, scale=10.0):
    return scale * torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def flux_field(u, k):
    """div(g(|grad u| / k) grad u) on cells of 2 x 2 pixels, without a wavelet: the gradient at a cell's center is the
    mean difference of its sides, |grad u|^2 takes in the mixed difference, nothing flows out of the image."""
    p = np.pad(u, 1, mode='edge')
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, :-1], p[1:, 1:]
    ux, uy, mixed = (b - a + d - c) / 2, (c - a + d - b) / 2, (a - b - c + d) / 2
    g = 1 / (1 + (ux**2 + uy**2 + mixed**2) / k**2)
    # The divergence: each pixel is a corner of four cells, and takes half of each flux of each cell, in or out.
    return (
        (g * (ux + uy - mixed))[1:, 1:]
        + (g * (uy - ux + mixed))[1:, :-1]
        + (g * (ux - uy + mixed))[:-1, 1:]
        - (g * (ux + uy + mixed))[:-1, :-1]
    ) / 2


def perona_malik(u, k, dt, steps):
    """The scheme of Perona and Malik's article but with |grad u| at the faces, so that it solves the same equation."""
    for _ in range(steps):
        p = np.pad(u, 1, mode='edge')
        dx, dy = np.diff(p, axis=1), np.diff(p, axis=0)
        # Derivative along a face: mean of the four central ones around it, (H + 2, W + 2) inner parts.
        cy, cx = np.gradient(p, axis=0), np.gradient(p, axis=1)
        along_x, along_y = (cy[:, 1:] + cy[:, :-1]) / 2, (cx[1:] + cx[:-1]) / 2
        fx = dx / (1 + (dx**2 + along_x**2) / k**2)
        fy = dy / (1 + (dy**2 + along_y**2) / k**2)
        u = u + dt * (np.diff(fx[1:-1], axis=1) + np.diff(fy[:, 1:-1], axis=0))
    return u


@pytest.mark.parametrize('name', diffusion.FILTERS)
def test_filters_are_tight_frames(name):
    filters = np.array(diffusion.FILTERS[name])
    total = sum(np.convolve(f, f[::-1]) for f in filters)
    np.testing.assert_allclose(total, np.arange(len(total)) == len(total) // 2, atol=1e-15)
    np.testing.assert_allclose(filters.sum(1), [1] + [0] * (len(filters) - 1), atol=1e-15)
    # White noise has details of its own standard deviation.
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((256, 256)))
    for level in range(2):
        c = noise
        for i in range(level):
            c = diffusion._filter(diffusion._filter(c, filters[0].tolist(), 2**i, -1), filters[0].tolist(), 2**i, -2)
        d = diffusion._filter(
            diffusion._filter(c, filters[0].tolist(), 2**level, -1), filters[1].tolist(), 2**level, -2
        )
        assert d.std() / diffusion.atom_norm(name, level) == pytest.approx(1, rel=0.03)


def test_db2_has_two_vanishing_moments():
    high = np.array(diffusion.FILTERS['db2'][1])
    np.testing.assert_allclose(high @ np.arange(4), 0, atol=1e-15)


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.booleans(), st.floats(0.01, 1), st.floats(0.1, 100)
)
@settings(max_examples=60, deadline=None)
def test_shifts_equal_the_filter_bank(height, width, levels, coupled, dt, k):
    x = images(2, height, width)
    args = (x, torch.tensor(k**2, dtype=x.dtype), dt, levels, coupled)
    expected = diffusion._removed_by_filters(*args[:3], 'haar', *args[3:])
    torch.testing.assert_close(diffusion._removed_by_haar(*args), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('coupled', [True, False])
@pytest.mark.parametrize('levels', [1, 2, 3])
def test_stationary_is_the_mean_of_the_decimated_over_all_shifts(levels, coupled):
    size = 2**levels
    x = images(11, 14)
    mirrored = np.pad(x.numpy(), size, mode='symmetric')
    spun = np.zeros(x.shape)
    for i, j in itertools.product(range(size), repeat=2):
        shifted = torch.from_numpy(mirrored[i:, j:])
        y = wavelet_diffusion(shifted, 7.0, 1, 0.8, levels=levels, coupled=coupled, decimated=True)
        spun += y[size - i :, size - j :][:11, :14].numpy() / size**2
    got = wavelet_diffusion(x, 7.0, 1, 0.8, levels=levels, coupled=coupled)
    np.testing.assert_allclose(got, spun, atol=1e-12)


@pytest.mark.parametrize('coupled', [True, False])
def test_decimated_is_shrinkage_of_blocks(coupled):
    x, k, dt = images(6, 8), 6.0, 0.7
    haar = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    expected = np.empty(x.shape)
    for i, j in itertools.product(range(0, 6, 2), range(0, 8, 2)):
        coefficients = haar @ x[i : i + 2, j : j + 2].numpy() @ haar.T
        details = coefficients.copy()
        details[0, 0] = 0
        size = np.linalg.norm(details) if coupled else np.abs(details)
        expected[i : i + 2, j : j + 2] = haar.T @ (coefficients - dt / (1 + (size / k) ** 2) * details) @ haar
    got = wavelet_diffusion(x, k, 1, dt, decimated=True, coupled=coupled)
    np.testing.assert_allclose(got, expected, atol=1e-13)


@pytest.mark.parametrize('form', FORMS, ids=NAMES)
@pytest.mark.parametrize('size', SIZES)
def test_constants_mean_and_energy(form, size):
    x = images(3, 2, *size)
    y = wavelet_diffusion(x, 5.0, 4, 1.0, **form)
    assert y.shape == x.shape
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)), rtol=0, atol=1e-12)
    assert (y.var((2, 3), correction=0) <= x.var((2, 3), correction=0) + 1e-12).all()
    if max(size) > 3:
        assert (y.var((2, 3)) < 0.99 * x.var((2, 3))).all()
    constant = torch.full(size, 117.3, dtype=torch.float32)
    y = wavelet_diffusion(constant, 5.0, 4, 1.0, **form)
    if form.get('wavelet', 'haar') == 'haar':
        assert torch.equal(y, constant)
    else:
        torch.testing.assert_close(y, constant)


@pytest.mark.parametrize('decimated', [False, True])
@pytest.mark.parametrize('size', [(1, 9), (13, 17)])
def test_coupled_haar_keeps_to_the_range_of_the_neighbors(size, decimated):
    x = images(20, *size)
    y = wavelet_diffusion(x, 30.0, 1, 1.0, decimated=decimated)
    high = torch.from_numpy(ndimage.maximum_filter(x, (1, 3, 3), mode='nearest'))
    low = torch.from_numpy(ndimage.minimum_filter(x, (1, 3, 3), mode='nearest'))
    assert ((low <= y + 1e-12) & (y <= high + 1e-12)).all()
    z = wavelet_diffusion(x, 30.0, 50, 1.0, decimated=decimated)
    assert (z.amax((1, 2)) <= x.amax((1, 2)) + 1e-12).all()
    assert (z.amin((1, 2)) >= x.amin((1, 2)) - 1e-12).all()


def test_limit_of_the_step_size(monkeypatch):
    # The finest detail there is, a chessboard, is multiplied by 1 - dt in every step.
    board = torch.from_numpy(np.indices((8, 8)).sum(0) % 2 * 2.0 - 1) * 1e-4
    monkeypatch.setattr(diffusion.WaveletDiffusion, '__post_init__', lambda _: None)
    inner = slice(3, 5)
    for dt in (0.5, 1.0, 1.5, 2.0, 2.5):
        y = wavelet_diffusion(board, 1.0, 1, dt)
        torch.testing.assert_close(y[inner, inner], (1 - dt) * board[inner, inner], rtol=0, atol=1e-11)


@pytest.mark.parametrize('form', FORMS, ids=NAMES)
def test_symmetries(form):
    x = images(2, 3, 12, 8)
    k = torch.tensor([2.0, 5.0, 9.0]).double()[:, None, None]

    def run(x, k):
        return wavelet_diffusion(x, k, 3, 0.6, **form)

    y = run(x, k)
    for b, c in itertools.product(range(2), range(3)):
        torch.testing.assert_close(y[b, c], run(x[b, c], float(k[c])))
    torch.testing.assert_close(run(x.mT, k), y.mT)
    # Blocks of 2 x 2 and 4 x 4 fit the size, so the decimated form has these symmetries here as well.
    for axes in ((-1,), (-2,)):
        torch.testing.assert_close(run(x.flip(axes), k), y.flip(axes))
    torch.testing.assert_close(run(-3 * x + 40, 3 * k), -3 * y + 40)


def test_only_the_stationary_form_does_not_depend_on_where_the_grid_is():
    x = torch.nn.functional.pad(images(1, 10, 10), (40, 40, 40, 40))
    moved = x.roll((1, 1), (1, 2))
    for form in FORMS:
        y, z = (wavelet_diffusion(v, 8.0, 3, 0.8, **form) for v in (x, moved))
        equal = torch.allclose(y.roll((1, 1), (1, 2)), z, atol=1e-12)
        assert equal != form.get('decimated', False)


def test_a_signal_takes_the_explicit_step_of_perona_and_malik():
    u, k = images(1, 40).numpy(), 6.0
    for dt in (0.2, 1.0):
        got = wavelet_diffusion(torch.from_numpy(u), k, 3, dt).numpy()
        v = u[0]
        for _ in range(3):
            slope = np.diff(v)
            flux = np.concatenate(([0], slope / (1 + (slope / k) ** 2), [0]))
            v = v + dt / 4 * np.diff(flux)
        np.testing.assert_allclose(got[0], v, atol=1e-12)


@pytest.mark.parametrize('dt', [0.1, 1.0])
def test_an_image_takes_the_explicit_step_of_the_same_flux(dt):
    u, k = images(15, 12).numpy(), 6.0
    expected = u
    for _ in range(3):
        expected = expected + dt / 4 * flux_field(expected, k)
    got = wavelet_diffusion(torch.from_numpy(u), k, 3, dt)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_first_order_in_dt():
    u, k, time = images(12, 10).numpy(), 6.0, 2.0
    solution = solve_ivp(
        lambda _, v: flux_field(v.reshape(u.shape), k).ravel(), (0, time), u.ravel(), 'DOP853', rtol=1e-11, atol=1e-11
    )
    exact = solution.y[:, -1].reshape(u.shape)
    errors = []
    for steps in (8, 16, 32, 64, 128):
        got = wavelet_diffusion(torch.from_numpy(u), k, steps, 4 * time / steps)
        errors.append(np.abs(got.numpy() - exact).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    for steps, error, order in zip((8, 16, 32, 64, 128), errors, (np.nan, *orders), strict=True):
        print(f'dt {4 * time / steps:6.4f}: largest error {error:.4f}, order {order:.2f}')
    assert orders[-1] == pytest.approx(1, abs=0.05)
    assert errors[-1] < 0.06


def test_second_order_in_space_to_the_perona_malik_equation():
    """On a finer and finer grid: against another discretisation of the same equation, at the same time."""
    errors = []
    for n in (16, 32, 64):
        x = (np.arange(n) + 0.5) / n
        u = 40 * np.cos(np.pi * x)[:, None] * np.cos(2 * np.pi * x)
        # In pixels, slopes shrink with 1 / n and durations grow with n^2. The slopes, up to 250, are below k: above,
        # the equation runs backwards and its solution does not depend continuously on anything.
        k, time = 300 / n, 0.01 * n**2
        steps = round(4 * time / 0.5)
        got = wavelet_diffusion(torch.from_numpy(u), k, steps, 4 * time / steps).numpy()
        other = perona_malik(u, k, time / steps, steps)
        assert np.abs(got - u).max() > 10
        errors.append(np.abs(got - other).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    for n, error, order in zip((16, 32, 64), errors, (np.nan, *orders), strict=True):
        print(f'{n} x {n} pixels: largest difference {error:.4f}, order {order:.2f}')
    assert orders[-1] == pytest.approx(2, abs=0.2)
    assert errors[-1] < 0.05


@pytest.mark.parametrize('form', FORMS, ids=NAMES)
def test_noise_goes_and_an_edge_stays_sharper_than_by_a_gaussian(form):
    noise = np.random.default_rng(0).normal(0, 5, (96, 128))
    step = np.zeros(noise.shape)
    step[:, 64:] = 100
    y = wavelet_diffusion(torch.from_numpy(step + noise), 15.0, 6, 0.8, **form).numpy()
    far = np.r_[0:56, 72:128]
    kept = (y - step)[:, far].std() / noise[:, far].std()
    assert kept < 0.6
    # A Gaussian is linear: what it leaves of the noise and of the edge are separate.
    sigma = optimize.brentq(
        lambda s: ndimage.gaussian_filter(noise, s)[:, far].std() / noise[:, far].std() - kept, 0.05, 30
    )
    gaussian = ndimage.gaussian_filter(step, sigma)
    jump, blurred = ((v[:, 64] - v[:, 63]).mean() / 100 for v in (y, gaussian))
    assert jump > 0.8
    assert jump > 1.5 * blurred


def test_multiplying_details_by_g_would_do_the_opposite():
    """Why the factor is 1 - dt g: a unit edge in the middle of a block, and noise, after ten steps."""
    k, noise = 0.25, images(64, 64, scale=0.02)
    edge = torch.zeros(16, 33, dtype=torch.float64)
    edge[:, 17:] = 1

    def times_g(u):
        for _ in range(10):
            # d g = d - (1 - g) d, and 1 - g = s^2 / (1 + s^2).
            p = diffusion._mirror(u, 1)
            s, t = p[1:] + p[:-1], p[1:] - p[:-1]
            x, y, xy = s[:, 1:] - s[:, :-1], t[:, 1:] + t[:, :-1], t[:, 1:] - t[:, :-1]
            lost = 1 - 1 / (1 + (x**2 + y**2 + xy**2) / (4 * k**2))
            x, y, xy = (lost * w / 16 for w in (x, y, xy))
            s, t = x[:, :-1] - x[:, 1:], (xy + y)[:, :-1] + (y - xy)[:, 1:]
            u = u - ((s + t)[:-1] + (s - t)[1:])
        return u

    methods = {
        'details times g': times_g,
        'details times 1 - g / 2, shift-invariant': lambda u: wavelet_diffusion(u, k, 10, 0.5),
        'details times 1 - g / 2, decimated': lambda u: wavelet_diffusion(u, k, 10, 0.5, decimated=True),
        'plain Perona-Malik, dt 1 / 8': lambda u: torch.from_numpy(perona_malik(u.numpy(), k, 0.125, 10)),
    }
    kept = {}
    for name, method in methods.items():
        kept[name] = float(method(edge)[8, 16:18].diff()), float(method(noise).std() / noise.std())
        print(f'{name}: the edge keeps {kept[name][0]:.2f}, the noise {kept[name][1]:.2f}')
    wrong, right, decimated, plain = kept.values()
    assert wrong[0] < 0.3
    assert wrong[1] > 0.8
    assert right[0] > 0.85
    assert right[1] < 0.35
    assert right == pytest.approx(plain, abs=0.05)
    assert decimated[1] > 1.3 * right[1]


@pytest.mark.parametrize('form', FORMS, ids=NAMES)
def test_gradients(form, all_tests):
    x = images(2, 5, 4, scale=1.0).requires_grad_()
    k = torch.tensor([0.7, 2.0]).double()[:, None, None].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, k: wavelet_diffusion(x, k, 2, 0.7, **form), (x, k), fast_mode=not all_tests
    )


def test_gradients_where_nothing_varies():
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    block = WPMDBlock(1)
    block(x).sum().backward()
    assert x.grad.isfinite().all()
    assert block.log_k.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('form', FORMS, ids=NAMES)
def test_types(form, dtype):
    x = (images(2, 9, 7) * 10 + 100).to(dtype)
    y = wavelet_diffusion(x, 20.0, **form)
    assert y.dtype == dtype
    expected = wavelet_diffusion(x.double(), 20.0, **form)
    torch.testing.assert_close(y.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-4 * (dtype != torch.float64))
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(wavelet_diffusion(x, 20.0, **form), y, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(dt=0.0), r'dt must be in \(0, 1\], got 0.0'),
        (dict(dt=1.01), 'above 1 details change their sign'),
        (dict(dt=float('nan')), 'dt must be'),
        (dict(num_steps=0), 'num_steps must be a positive integer'),
        (dict(num_steps=1.5), 'num_steps must be a positive integer'),
        (dict(levels=0), 'levels must be a positive integer'),
        (dict(wavelet='db9'), "one of .*'haar'.*got 'db9'"),
        (dict(wavelet='linear', decimated=True), "decimated=True goes with wavelet='haar'"),
        (dict(k=0.0), 'k must be positive'),
        (dict(k=float('inf')), 'k must be positive'),
        (dict(k=torch.ones(3, 4, 4)), 'k must have one value per image'),
        (dict(x=torch.rand(4)), 'at least one pixel'),
        (dict(x=torch.rand(3, 0, 4)), 'at least one pixel'),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        wavelet_diffusion(**dict(x=torch.rand(3, 4, 4), k=1.0) | change)


def test_integers_are_refused():
    with pytest.raises(TypeError, match='floating'):
        wavelet_diffusion(torch.ones(4, 4, dtype=torch.uint8), 1.0)


@pytest.mark.parametrize('size', [(200, 150), (1, 20000), (20000, 1)])
def test_detail_scale_of_noise(size):
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (2, *size)))
    # A single difference of a row or column has twice the variance of one in a plane.
    expected = 3 * np.sqrt(2 if 1 in size else 1)
    for statistic in ('median', 'mean'):
        got = detail_scale(noise, statistic)
        assert got.shape == (2, 1, 1)
        np.testing.assert_allclose(got.flatten(), expected, rtol=0.03)
        torch.testing.assert_close(detail_scale(5 * noise + 7, statistic), 5 * got)
    # A bright target does not change the median.
    if 1 not in size:
        bright = noise.clone()
        bright[:, 5:9, 5:9] += 1000
        torch.testing.assert_close(detail_scale(bright), detail_scale(noise), rtol=0.01, atol=0)


def test_detail_scale_is_the_same_with_and_without_gradients():
    for size in ((7, 9), (8, 8), (1, 2), (2, 2)):
        x = images(2, 3, *size).float()
        assert torch.equal(detail_scale(x), detail_scale(x.clone().requires_grad_()).detach())


def test_detail_scale_by_hand():
    x = torch.tensor([[0.0, 2.0, 2.0], [0.0, 6.0, 0.0]])
    # Along x: means of (2, 6) and (0, -6); along y: of (0, 4) and (4, -2). Of 4, 3, 2, 1 torch takes the lower median.
    np.testing.assert_allclose(detail_scale(x), 2 / 0.6745, rtol=1e-6)
    np.testing.assert_allclose(detail_scale(x, 'mean'), 2.5 * np.sqrt(np.pi / 2), rtol=1e-6)
    assert detail_scale(torch.ones(4, 1, 1)).tolist() == [[[0]]] * 4
    with pytest.raises(ValueError, match='statistic'):
        detail_scale(x, 'mad')


@pytest.mark.parametrize('form', FORMS, ids=NAMES)
def test_block(form):
    x = images(2, 3, 9, 8).float()
    block = WPMDBlock(3, k=0.8, k_unit='median', num_steps=2, dt=0.6, **form)
    k = 0.8 * detail_scale(x)
    smooth = wavelet_diffusion(x, k, 2, 0.6, **form)
    torch.testing.assert_close(block(x), smooth)
    block.gate.data[:] = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(block(x)[:, 0], x[:, 0])
    torch.testing.assert_close(block(x)[:, 1], (x + smooth)[:, 1] / 2)
    torch.testing.assert_close(block(x)[:, 2], smooth[:, 2])
    absolute = WPMDBlock(3, k=4.0, k_unit='level', num_steps=2, dt=0.6, **form)
    torch.testing.assert_close(absolute(x), wavelet_diffusion(x, 4.0, 2, 0.6, **form))


def test_block_follows_the_scale_of_each_sample():
    block = WPMDBlock(2)
    x = images(2, 2, 12, 12).float()
    scales = torch.tensor([[1.0, 30.0], [0.01, 5.0]])[..., None, None]
    torch.testing.assert_close(block(scales * x), scales * block(x))


@pytest.mark.parametrize('statistic', ['mean', 'median'])
def test_flat_places_may_be_left_out(statistic):
    x = images(2, 3, 40, 30).float()
    x[..., [0, -1], :] = x[..., :, [0, -1]] = 0.1  # no step to the padding
    x = x * torch.tensor([1.0, 1e-4, 1e4])[:, None, None]
    corner = x[..., :1, :1].expand(2, 3, 80, 60)
    padded, middle = corner.clone(), corner.clone()
    padded[..., :40, :30] = middle[..., 25:65, 7:37] = x
    expected = detail_scale(x, statistic, skip_flat=True)
    for other in (padded, middle):
        torch.testing.assert_close(detail_scale(other, statistic, skip_flat=True), expected)
        assert (detail_scale(other, statistic) < 0.3 * expected).all()
    noise = images(2, 3, 40, 30)
    torch.testing.assert_close(detail_scale(noise, statistic, skip_flat=True), detail_scale(noise, statistic))
    assert not detail_scale(corner, statistic, skip_flat=True).any()
    # What rounding leaves of a flat place is none of its details.
    rough = padded + 1e-7 * padded.abs().amax((-2, -1), keepdim=True) * torch.randn(80, 60)
    torch.testing.assert_close(detail_scale(rough, statistic, skip_flat=True), expected, rtol=0.02, atol=0)


def test_padding_does_not_change_what_the_block_does():
    x = images(1, 4, 32, 32).float()
    x[..., [0, -1], :] = x[..., :, [0, -1]] = 0.5
    padded = torch.nn.functional.pad(x, (0, 32, 0, 32), value=0.5)
    block = WPMDBlock(4, k=0.5)
    torch.testing.assert_close(block(padded)[..., :28, :28], block(x)[..., :28, :28], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('gate', [-3.0, 0.0, 0.4, 1.0, 7.0])
def test_block_never_amplifies(gate):
    x = images(2, 3, 24, 24).float()
    block = WPMDBlock(3, k=3.0)
    nn.init.constant_(block.gate, gate)
    y = block(x)
    energy, before = ((v - v.mean((2, 3), keepdim=True)).square().sum((2, 3)) for v in (y, x))
    assert (energy <= before * (1 + 1e-6)).all()
    nn.init.constant_(block.gate, min(max(gate, 0), 1))
    torch.testing.assert_close(block(x), y)
    with torch.no_grad():
        torch.testing.assert_close(block(x), y)


@pytest.mark.parametrize(
    ('gate', 'target', 'learned'), [(0.0, 0.7, 0.7), (-0.2, 0.7, 0.7), (1.3, 0.7, 0.7), (0.3, -2, 0)]
)
def test_gate_comes_back_into_its_range_and_stays_near_it(gate, target, learned):
    parameter = nn.Parameter(torch.tensor([gate]))
    optimizer = torch.optim.SGD([parameter], 0.2)
    for _ in range(60):
        optimizer.zero_grad()
        (bounded_gate(parameter) - target).square().sum().backward()
        optimizer.step()
    assert bounded_gate(parameter).item() == pytest.approx(learned, abs=0.01)
    assert -1 < parameter.item() < 2


def test_block_learns_k_and_gate():
    """It recovers the k and the gate of another block from what this one makes."""
    torch.manual_seed(0)
    x = torch.randn(4, 2, 16, 16)
    teacher, student = WPMDBlock(2, k=2.0, gate=0.7), WPMDBlock(2)
    with torch.no_grad():
        target = teacher(x)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = (student(x) - target).square().mean()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(student.log_k.exp(), torch.full((2,), 2.0), rtol=0.05, atol=0)
    torch.testing.assert_close(student.gate, teacher.gate, rtol=0.05, atol=0)


def test_block_recomputes():
    x = images(2, 3, 8, 8).float().requires_grad_()
    plain = WPMDBlock(3)
    saving = copy.deepcopy(plain)
    saving.with_cp = True
    kept = []
    for block in (plain, saving):
        count = [0]
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, c=count: c.__setitem__(0, c[0] + t.numel()) or t, lambda t: t
        ):
            y = block(x)
        grads = torch.autograd.grad(y.square().sum(), [x, *block.parameters()])
        kept.append((count[0], y, grads))
    assert torch.equal(kept[0][1], kept[1][1])
    for a, b in zip(kept[0][2], kept[1][2], strict=True):
        torch.testing.assert_close(a, b)
    assert kept[1][0] < kept[0][0] / 10


def test_block_is_a_plugin_of_resnet():
    plugin = dict(
        cfg=dict(type='mmirstd.WPMDBlock', num_steps=1), stages=(False, True, False, False), position='after_conv3'
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        net = ResNet(50, base_channels=4, stem_channels=4, plugins=[plugin])
    blocks = [m for m in net.modules() if isinstance(m, WPMDBlock)]
    assert len(blocks) == 4
    assert {len(b.gate) for b in blocks} == {32}
    sum(y.sum() for y in net(torch.rand(2, 3, 64, 64))).backward()
    assert all(b.log_k.grad is not None for b in blocks)


def test_block_is_exported_for_any_size():
    block = WPMDBlock(3).eval()
    dims = {2: torch.export.Dim('height', min=4, max=512), 3: torch.export.Dim('width', min=4, max=512)}
    program = torch.export.export(block, (torch.rand(1, 3, 12, 10),), dynamic_shapes=(dims,))
    x = torch.rand(1, 3, 21, 33)
    torch.testing.assert_close(program.module()(x), block(x))


def test_block_is_built_from_a_config_and_printed():
    block = MODELS.build(dict(type='mmirstd.WPMDBlock', in_channels=5, dt=0.25))
    assert isinstance(block, nn.Module)
    assert "in_channels=5, k_unit='mean', num_steps=3, dt=0.25" in repr(block)
    for change, message in (
        (dict(k=-1), 'k must'),
        (dict(k_unit='mad'), 'k_unit must'),
        (dict(dt=2), 'dt must'),
        (dict(gate=2), 'gate must'),
    ):
        with pytest.raises(ValueError, match=message):
            WPMDBlock(3, **change)

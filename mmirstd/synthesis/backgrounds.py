"""Radiance fields that infrared scenes are made of: sky, sea, ground, buildings and skylines.

Each function takes a generator and a size and returns a float32 array (H, W) in arbitrary units, larger is warmer;
the caller sets level and contrast. Natural textures are Gaussian random fields whose power falls as 1/f^beta (Pentland,
"Fractal-based description of natural scenes", TPAMI 1984), bent by a second field, cut off and shaded; sea and ground
are plan-view textures seen in perspective.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from scipy.fft import next_fast_len

from mmirstd.synthesis.fields import (
    billow,
    gradient,
    pixel_grid,
    quantile,
    random_fields,
    smoothstep,
    standardize,
    warp,
)

Array = np.ndarray


def clear(rng: np.random.Generator, h: int, w: int) -> Array:
    """Cloudless sky: a gradient and faint uneven haze."""
    haze, _ = random_fields(rng, h, w, beta=rng.uniform(3, 4), stretch=rng.uniform(1, 3))
    return gradient(rng, h, w) * rng.uniform(0, 5) + haze


def stratus(rng: np.random.Generator, h: int, w: int) -> Array:
    """Layered or veil clouds without edges, some with streaks."""
    angle = rng.normal(0, 0.25)
    a, b = random_fields(rng, h, w, rng.uniform(3.2, 4.2), stretch=rng.uniform(1.2, 4), angle=angle)
    amount = rng.uniform(0.02, 0.10) * min(h, w)
    a = warp(a, amount * b, amount * b)
    return np.exp(a * rng.uniform(0.2, 0.6)) + gradient(rng, h, w) * rng.uniform(0, 1)


def cirrus(rng: np.random.Generator, h: int, w: int) -> Array:
    """Fibrous ice clouds: strands along a slowly bent flow, thin against a cold sky."""
    size = min(h, w)
    angle = rng.normal(0, 0.6)
    bend_y, bend_x = random_fields(rng, h, w, beta=5)
    strands, fine = random_fields(rng, h, w, rng.uniform(2.5, 3.1), stretch=rng.uniform(3, 12), angle=angle)
    cover, patch = random_fields(rng, h, w, rng.uniform(2.8, 3.4), stretch=rng.uniform(1.2, 3.5), angle=angle)
    amount = rng.uniform(0.005, 0.04) * size
    bend = (amount * bend_y, amount * bend_x)
    strands = warp(strands + 0.5 * fine, *bend)
    cover = warp(cover, *bend)
    thickness = smoothstep(cover + 0.25 * strands, quantile(cover, rng.uniform(0.05, 0.6)), rng.uniform(1.5, 3.5))
    image = thickness * np.exp(rng.uniform(0.25, 0.6) * strands) + 0.12 * patch
    return image + gradient(rng, h, w) * rng.uniform(0, 0.6)


def cumulus(rng: np.random.Generator, h: int, w: int) -> Array:
    """Heaped clouds with lit edges, from a few puffs to a closed cover."""
    size = min(h, w)
    cover, wy = random_fields(rng, h, w, rng.uniform(3.4, 4.2), stretch=rng.uniform(1, 2.2))
    lump, wx = random_fields(rng, h, w, rng.uniform(3.2, 3.9), wavelength=size / rng.uniform(1.5, 4))
    puff = billow(lump)
    amount = rng.uniform(0.01, 0.05) * size
    shape = warp(cover + rng.uniform(0.2, 0.8) * puff, amount * wy, amount * wx)
    cut = quantile(shape, rng.uniform(0.1, 0.85))
    density = smoothstep(shape, cut, rng.uniform(0.3, 2.0))
    thick = np.sqrt(np.maximum(shape - cut, 0))
    # Sun or ground radiation from one side: the slope of the cloud's surface along that direction.
    surface = thick + 0.5 * puff
    light = rng.uniform(0, 2 * math.pi)
    slope = 0
    for sigma in (0.006, 0.02):
        smooth = cv2.GaussianBlur(surface, (0, 0), max(size * sigma, 0.6))
        dx, dy = cv2.Scharr(smooth, cv2.CV_32F, 1, 0), cv2.Scharr(smooth, cv2.CV_32F, 0, 1)
        slope = slope + np.tanh((math.cos(light) * dx + math.sin(light) * dy) * (size * sigma / 6))
    body = 0.5 + rng.uniform(0.2, 1.2) * thick + rng.uniform(0.1, 0.5) * slope + rng.uniform(0, 0.15) * wx
    haze = rng.uniform(0, 0.15) * wy + gradient(rng, h, w) * rng.uniform(0, 0.5)
    return haze + density * (body - haze)


def _perspective(rng: np.random.Generator, h: int, w: int, horizon: float, near: float) -> tuple[Array, Array, Array]:
    """Plan-view coordinates (v, u) of the pixels below a horizon row, and pixels per texel there (1 at most counts)."""
    y, x = pixel_grid(h, w)
    depth = (h - horizon) / np.maximum(y - horizon, 0.5)
    u = (x - (w * rng.uniform(0.2, 0.8))) * depth / near
    # The slant shrinks v twice as fast as u: row spacing is the derivative of 1/(y - horizon).
    slant = rng.uniform(0.6, 1.6)
    v = depth * (slant * (h - horizon) / near)
    scale = (near / slant) / (depth * depth)
    return v + rng.uniform(0, 512), u + rng.uniform(0, 512), scale


def sea(rng: np.random.Generator, h: int, w: int, horizon: float | None = None) -> Array:
    """Water in perspective: wind waves, swell trains or ring waves, and glints under the sun's azimuth."""
    if horizon is None:
        horizon = -h * rng.uniform(0.02, 2)
    n = next_fast_len(max(256, h, w))
    angle = rng.normal(0, 0.3)
    waves, patch = random_fields(
        rng,
        n,
        n,
        rng.uniform(2.5, 3.5),
        stretch=rng.uniform(1.5, 4),
        angle=angle,
        wavelength=rng.uniform(8, 40),
        tile=True,
    )
    v, u, scale = _perspective(rng, h, w, horizon, near=rng.uniform(1, 2.5))
    texture = np.exp(rng.uniform(0.2, 0.7) * waves)
    fade = np.clip(scale, 0, 1) ** rng.uniform(0.2, 0.5)
    surface = cv2.remap(texture, u % n, v % n, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) - float(texture.mean())
    surface *= fade
    envelope = cv2.remap(patch, (u / 6) % n, (v / 6) % n, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    if rng.random() < 0.5:
        length = rng.uniform(8, 30)
        if rng.random() < 0.3:
            phase = np.hypot(u - u[rng.integers(h), rng.integers(w)], v - v[rng.integers(h), rng.integers(w)])
        else:
            direction = angle + math.pi / 2 + rng.normal(0, 0.15)
            phase = math.cos(direction) * u + math.sin(direction) * v
        swell = np.sin(phase * (2 * math.pi / length) + envelope)
        surface += rng.uniform(0.1, 0.4) * swell * np.clip(scale * (length / 6) - 1, 0, 1) * (1.5 + envelope)
    y, x = pixel_grid(h, w)
    image = surface + rng.uniform(-0.8, 1.2) * (y - horizon) / (h - horizon)
    image += rng.uniform(0.05, 0.4) * envelope * fade
    if rng.random() < 0.35:
        column = (x - (w * rng.uniform(0, 1))) / (w * rng.uniform(0.05, 0.3))
        glitter = np.exp(-0.5 * column * column)
        crest = smoothstep(surface, quantile(surface, rng.uniform(0.9, 0.985)), 0.5)
        image += glitter * (rng.uniform(0.1, 0.6) + rng.uniform(1, 3) * crest)
    return image


def _plan_view(rng: np.random.Generator, n: int) -> Array:
    """Ground from above, tileable: soil and grass, fields with hard borders, roads, bushes with shadows."""
    relief, soil = random_fields(rng, n, n, rng.uniform(2.2, 3.0), tile=True)
    grass, clump = random_fields(rng, n, n, rng.uniform(0.8, 1.8), wavelength=rng.uniform(6, 30), tile=True)
    light = rng.uniform(0.2, 0.9)
    hill = np.roll(relief, 1, 0) - np.roll(relief, -1, 1)
    ground = light * hill / float(hill.std() + 1e-6) * 0.6 + rng.uniform(0.2, 0.9) * soil
    ground += rng.uniform(0.15, 0.7) * (grass + np.abs(clump))
    if rng.random() < 0.5:  # fields: straight borders, bent a little
        angle = rng.uniform(0, math.pi)
        y, x = pixel_grid(n, n)
        a = math.cos(angle) * x + math.sin(angle) * y + 4 * relief
        b = math.cos(angle) * y - math.sin(angle) * x + 4 * soil
        cell = (a // rng.uniform(40, 110)).astype(np.int32) * 7 + (b // rng.uniform(30, 90)).astype(np.int32)
        tone = rng.normal(0, rng.uniform(0.3, 1.3), 31).astype(np.float32)
        furrow = np.sin(a * (2 * math.pi / rng.uniform(3, 9))) * rng.uniform(0, 0.25)
        ground = ground + tone[cell % 31] + furrow * (tone[(cell * 5) % 31] > 0)
    if rng.random() < 0.6:  # roads and streams, warmer or colder
        t = np.linspace(-0.2, 1.2, 48)[:, None]
        for _ in range(rng.integers(1, 3)):
            start, end, bend = rng.random((3, 2))
            points = start + (end - start) * 1.5 * t + 0.08 * bend * np.sin(2 * math.pi * (bend[::-1] + 1) * t)
            tone = float(rng.choice([-1, 1, 1])) * rng.uniform(0.6, 2.2)
            curve = np.round(points * n * 16).astype(np.int32)
            cv2.polylines(ground, [curve], False, tone, int(rng.integers(1, 6)), cv2.LINE_8, 4)
    if rng.random() < 0.5:
        bush = smoothstep(clump + 0.8 * soil, rng.uniform(1.2, 2.2), 0.5)
        shadow = np.roll(bush, (2, 3), (0, 1))
        sign = float(rng.choice([-1, 1]))
        ground = ground * (1 - bush) + bush * sign * 1.5 - 0.7 * shadow * (1 - bush) * sign
    return ground


def terrain(rng: np.random.Generator, h: int, w: int, horizon: float | None = None) -> Array:
    """Ground from a height or along the eye: relief, vegetation, field patches, roads."""
    if horizon is None:
        horizon = -h * rng.uniform(0.1, 4)
    n = next_fast_len(max(384, h, w))
    plan = _plan_view(rng, n)
    roll = rng.uniform(0, 2 * math.pi)
    near = rng.uniform(1.0, 2.0)
    v, u, scale = _perspective(rng, h, w, horizon, near)
    vu = math.cos(roll) * v + math.sin(roll) * u
    uv = math.cos(roll) * u - math.sin(roll) * v
    far = cv2.GaussianBlur(plan, (0, 0), 3)
    blend = np.clip(scale, 0, 1)
    grid = (uv % n, vu % n)
    sharp = cv2.remap(plan, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    soft = cv2.remap(far, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return soft + blend * (sharp - soft)


def _crowns(rng: np.random.Generator, w: int, width: float) -> Array:
    """Height (W,) of a row of tree crowns about ``width`` pixels wide, 0 to about 1."""
    uneven, low = random_fields(rng, 3, w, 2.5)
    phase = np.cumsum(np.exp(0.5 * uneven[0])) * (math.pi / width) + rng.uniform(0, math.pi)
    return np.sqrt(np.abs(np.sin(phase))) * np.clip(0.6 + 0.3 * low[0], 0.1, 1.2)


def foliage(rng: np.random.Generator, h: int, w: int) -> Array:
    """A slope of trees or bushes: rows of crowns one before the other, lit tops, dark gaps, some bare trunks."""
    size = min(h, w)
    leaf, gap = random_fields(rng, h, w, rng.uniform(1.5, 2.3), wavelength=size / rng.uniform(4, 12))
    mass, _ = random_fields(rng, h, w, 3)
    y, _ = pixel_grid(h, w)
    image = 0.5 * mass
    width = size * rng.uniform(0.05, 0.25)
    ragged = y - rng.uniform(0.1, 0.3) * width * (gap + 0.5 * leaf)
    for row in range(rows := int(rng.integers(3, 8))):
        size_here = width * (0.6 + 0.8 * row / rows)
        top = h * (row / rows - rng.uniform(0, 0.15)) - size_here * rng.uniform(0.5, 1.5) * _crowns(rng, w, size_here)
        below = (ragged - top) / size_here
        lit = np.exp(-np.maximum(below, 0) * rng.uniform(1, 4)) * rng.uniform(0.6, 1.5)
        image += smoothstep(below, -0.05, 0.15) * (rng.normal(-0.3, 0.25) + lit - image)
    image += rng.uniform(0.1, 0.35) * leaf + 0.3 * mass
    image -= 0.6 * smoothstep(gap, rng.uniform(1.0, 2.0), 1.0)
    if rng.random() < 0.2:
        for x in rng.random(rng.integers(1, 8)) * w:
            ends = np.array([(x, h * rng.uniform(-0.5, 0.4)), (x + rng.normal(0, 0.04 * w), 1.1 * h)])
            thick = int(rng.integers(1, max(2, w // 50)))
            cv2.line(image, *np.round(ends * 16).astype(int), rng.normal(0.3, 0.5), thick, cv2.LINE_AA, 4)
    return image


def _facade(
    rng: np.random.Generator, image: Array, x: tuple[float, float], y: tuple[float, float], tone: float, spread: float
) -> None:
    """Draw one building into ``image``: wall, floors, windows, a lit side and ledges."""
    h, w = image.shape
    (x0, x1), (y0, y1) = map(int, x), map(int, y)
    cv2.rectangle(image, (x0, y0), (x1, y1), tone)
    wall = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if wall.size == 0:
        return
    wall[:] = tone + np.linspace(0, rng.normal(0, 0.3 * spread), wall.shape[0], dtype=np.float32)[:, None]
    wall += np.linspace(0, rng.normal(0, 0.2 * spread), wall.shape[1], dtype=np.float32)
    wall += (0.08 * spread) * random_fields(rng, *wall.shape, 2)[0]
    if rng.random() < 0.35:
        side = int(wall.shape[1] * rng.uniform(0.2, 0.5))
        wall[:, :side] += rng.normal(0, 0.5 * spread)
    if rng.random() < 0.65 and min(wall.shape) > 6:
        step_y, step_x = rng.integers(4, max(5, h // 8)), rng.integers(4, max(5, w // 8))
        pane_y, pane_x = max(1, int(step_y * rng.uniform(0.25, 0.65))), max(1, int(step_x * rng.uniform(0.2, 0.65)))
        shade = rng.normal(-0.2, 0.35) * spread
        for y in range(2, wall.shape[0] - pane_y, step_y):
            for x in range(2, wall.shape[1] - pane_x, step_x):
                if rng.random() < 0.9:
                    wall[y : y + pane_y, x : x + pane_x] += shade + rng.normal(0, 0.12 * spread)
    if rng.random() < 0.5:
        for y in rng.integers(0, wall.shape[0], rng.integers(1, 4)):
            wall[y : y + rng.integers(1, 4)] += rng.normal(0.2, 0.4) * spread


def urban(rng: np.random.Generator, h: int, w: int) -> Array:
    """Buildings near by: large walls, windows, ledges, pipes and cables, mostly out of focus."""
    size = min(h, w)
    soft, stain = random_fields(rng, h, w, 3.2)
    image = np.full((h, w), rng.normal(-1, 0.7), np.float32)
    image += 0.12 * soft
    for _ in range(rng.integers(1, 5)):
        bw, bh = rng.uniform(0.2, 1.1), rng.uniform(0.3, 1.2) if rng.random() < 0.2 else 2.0
        x, y = rng.uniform(-0.4, 0.9), rng.uniform(-0.3, 0.7)
        _facade(rng, image, (x * w, (x + bw) * w), (y * h, (y + bh) * h), rng.normal(0.7, 0.8), 1.0)
    for _ in range(rng.poisson(0.6)):
        left, right = rng.uniform(-0.5, 1.5, 2) * h * 16
        ends = (-16, int(left)), (16 * w + 16, int(right))
        cv2.line(image, *ends, rng.normal(0.3, 0.8), int(rng.integers(1, max(2, w // 50))), cv2.LINE_AA, 4)
    tilt = cv2.getRotationMatrix2D((w / 2, h / 2), rng.normal(0, 2), 1.1)
    tilt[:, :2] += rng.normal(0, 0.03, (2, 2))
    image = cv2.warpAffine(image, tilt, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    # A warm or cold seam along edges: conduction at corners, and the overshoot of detail enhancement.
    image += rng.uniform(0, 0.6) * (image - cv2.GaussianBlur(image, (0, 0), max(size / 60, 1)))
    image = cv2.GaussianBlur(image, (0, 0), max(size / 256 * rng.uniform(0.6, 3), 0.4))
    return image + rng.uniform(0.02, 0.12) * stain


def _skyline(rng: np.random.Generator, h: int, w: int) -> tuple[str, Array, Array]:
    """Kind, coverage (H, W) in 0..1 and radiance (H, W) of what stands in front of the sky."""
    kind = str(rng.choice(['hills', 'trees', 'houses', 'flat'], p=[0.2, 0.35, 0.2, 0.25]))
    y, _ = pixel_grid(h, w)
    top = h * rng.uniform(0.35, 0.95)
    line, rough = (random_fields(rng, 3, w, beta)[0][0] for beta in (3.6, 2.4))
    if kind == 'houses':
        image = np.full((h, w), -1e3, np.float32)
        x = -rng.uniform(0, 0.1) * w
        while x < w:
            width = rng.uniform(0.04, 0.35) * w
            if rng.random() < 0.75:
                y0 = top - h * rng.gamma(1.2, 0.08)
                _facade(rng, image, (x, x + width), (y0, h + 4), rng.normal(0, 0.6), 0.9)
            x += width * rng.uniform(0.7, 1.5)
        cover = (image > -500).astype(np.float32)
        image[image < -500] = 0
        return kind, cover, image
    if kind == 'trees':
        edge, leaf = random_fields(rng, h, w, rng.uniform(2.0, 2.6), wavelength=h / rng.uniform(3, 8))
        width = w * rng.uniform(0.05, 0.5)
        height = (top + 0.06 * h * line - width * rng.uniform(0.2, 0.7) * _crowns(rng, w, width))[None]
        cover = smoothstep((y - height) / (rng.uniform(0.02, 0.06) * h) + 0.5 * edge + 0.15 * leaf, -0.2, 0.5)
        return kind, cover, foliage(rng, h, w)
    if kind == 'hills':
        height = top + h * rng.uniform(0.03, 0.12) * (line + 0.08 * rough)[None]
        return kind, smoothstep(y - height, -0.5, 1.5), terrain(rng, h, w, horizon=top - 0.5 * h)
    height = np.broadcast_to(top + np.linspace(0, rng.normal(0, 0.03 * h), w, dtype=np.float32), (h, w))
    return kind, smoothstep(y - height, -0.5, 1.5), terrain(rng, h, w, horizon=float(height.min()) - 2)


def skyline(rng: np.random.Generator, h: int, w: int) -> Array:
    """Sky over hills, trees, houses or a plain; the ground is mostly the warmer of the two."""
    sky = [clear, clear, stratus, cirrus, cumulus][rng.integers(5)](rng, h, w)
    kind, cover, front = _skyline(rng, h, w)
    sky = standardize(sky) * rng.uniform(0.05, 0.7)
    step = rng.uniform(1.0, 6.0) * (1 if rng.random() < 0.8 else -0.7)
    front = standardize(front) * rng.uniform(0.15, 0.8) + step
    image = sky + cover * (front - sky)
    if kind == 'flat' and rng.random() < 0.5:  # a far bank or tree line in front of the horizon
        shore = smoothstep(cover, 0.1, 0.8) * (1 - np.roll(cover, int(rng.integers(2, max(3, h // 20))), 0))
        image += shore * rng.normal(0.5, 1.2)
    return image


def sea_horizon(rng: np.random.Generator, h: int, w: int) -> Array:
    """Sky over the sea with a horizon line, slightly rolled."""
    y, x = pixel_grid(h, w)
    row = h * rng.uniform(0.1, 0.75)
    sky = standardize([clear, stratus, cirrus, cumulus][rng.integers(4)](rng, h, w)) * rng.uniform(0.1, 0.7)
    water = standardize(sea(rng, h, w, horizon=row - 1)) * rng.uniform(0.3, 1) + rng.normal(0, 1.5)
    edge = y - row - (x - w / 2) * rng.normal(0, 0.02)
    cover = smoothstep(edge, -0.5, rng.uniform(1, 4))
    return sky + cover * (water - sky)


# Name -> function and the range of its contrast in gray levels (standard deviation), as seen in the public sets.
BACKGROUNDS: dict[str, tuple[Callable[[np.random.Generator, int, int], Array], tuple[float, float]]] = {
    'clear': (clear, (1.0, 14.0)),
    'stratus': (stratus, (3.0, 30.0)),
    'cirrus': (cirrus, (8.0, 45.0)),
    'cumulus': (cumulus, (12.0, 65.0)),
    'sea': (sea, (6.0, 40.0)),
    'sea_horizon': (sea_horizon, (10.0, 45.0)),
    'terrain': (terrain, (8.0, 40.0)),
    'foliage': (foliage, (8.0, 40.0)),
    'urban': (urban, (15.0, 60.0)),
    'skyline': (skyline, (15.0, 60.0)),
}

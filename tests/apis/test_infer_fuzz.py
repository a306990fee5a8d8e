"""Whatever goes into the inferencer comes out as a prediction or as a failure with its reason: none is lost."""

import struct
import zlib
from collections import Counter
from io import BytesIO
from itertools import count

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmirstd.apis import IRSTDInferencer, init_model
from mmirstd.io.inputs import list_images

FIXED = (
    "model['data_preprocessor'] = dict(type='mmirstd.IRSTDDataPreProcessor', test_divisor=2, mean=[80.0] * 3, "
    'std=[40.0] * 3)'
)
SIDES = st.one_of(st.integers(1, 40), st.sampled_from([1, 1, 2, 63]))
CHANNELS = st.sampled_from([None, None, 1, 2, 3, 4, 5])
HUGE = b'IHDR' + struct.pack('>IIBBBBB', 2**30, 2**30, 8, 0, 0, 0, 0)
HUGE = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + HUGE + struct.pack('>I', zlib.crc32(HUGE))
MADE_UP = [b'', b'no image', HUGE, b'II*\0', b'\xff\xd8\xff']
DTYPES = ['uint8', 'uint16', 'uint32', 'int8', 'int16', 'int64', 'float16', 'float32', 'float64', 'bool', 'complex64']


def pixels(draw, dtypes=tuple(DTYPES), channels=CHANNELS):
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    depth = draw(channels)
    shape = (draw(SIDES), draw(SIDES), *(() if depth is None else (depth,)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = rng.normal(100, 30, shape).clip(0, 255).astype(dtype)
    kind = draw(st.sampled_from(['noise', 'noise', 'constant', 'extreme', 'special']))
    if kind == 'constant':
        image[...] = image.flat[0]
    elif kind == 'extreme' and dtype.kind in 'iuf':
        limits = np.finfo(dtype) if dtype.kind == 'f' else np.iinfo(dtype)
        image.flat[0], image.flat[-1] = limits.min, limits.max
    elif kind == 'special' and dtype.kind == 'f':
        image.flat[draw(st.integers(0, image.size - 1))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return image


@st.composite
def arrays(draw):
    if draw(st.integers(0, 9)) == 0:
        return np.zeros(draw(st.sampled_from([(0,), (0, 5), (5, 0, 3), (7,), (2, 3, 4, 3), ()])), np.uint8)
    return pixels(draw)


@st.composite
def files(draw):
    """The name's end and the content of a file."""
    form = draw(st.sampled_from(['.png', '.png', '.tif', '.tif', '.jpg', '.bmp', 'made up']))
    if form == 'made up':
        return draw(st.sampled_from(['.png', '.tif'])), draw(st.sampled_from(MADE_UP))
    if form == '.tif':
        kinds = ('uint8', 'uint16', 'int16', 'int32', 'float32', 'float64')
        image = pixels(draw, kinds, st.sampled_from([None, 2, 3, 4]))
        layout = draw(st.sampled_from([{}, {'rowsperstrip': 5}, {'tile': (16, 16)}]))
        pages = draw(st.sampled_from([1, 1, 1, 2]))
        content = _tiff(image, pages, compression=draw(st.sampled_from([None, 'zlib', 'lzw'])), **layout)
    else:
        kinds = ('uint8', 'uint16') if form == '.png' else ('uint8',)
        image = pixels(draw, kinds, st.sampled_from([None, 3, 4] if form == '.png' else [None, 3]))
        content = cv2.imencode(form, image)[1].tobytes()
    harm = draw(st.sampled_from(['none', 'none', 'cut', 'bytes']))
    if harm == 'cut':
        content = content[: draw(st.integers(0, len(content)))]
    elif harm == 'bytes':
        at = draw(st.integers(0, len(content) - 1))
        content = content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at + 8 :]
    return form, content


def _tiff(image, pages, **options):
    buffer = BytesIO()
    kind = 'minisblack' if image.ndim == 2 or image.shape[2] == 2 else 'rgb'
    with tifffile.TiffWriter(buffer) as tiff:
        for _ in range(pages):
            tiff.write(image, photometric=kind, planarconfig='contig', metadata=None, **options)
    return buffer.getvalue()


@pytest.fixture
def inferencers(tiny_config, tiny_checkpoint):
    model = init_model(tiny_config(FIXED), tiny_checkpoint, 'cpu')
    return [IRSTDInferencer(model, show_progress=False, **options) for options in ({}, {'tile': 24, 'overlap': 8})]


def test_no_input_is_lost(inferencers, tmp_path, all_tests):
    numbers, outcomes = count(), Counter()

    @settings(
        max_examples=500 if all_tests else 5, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.lists(st.one_of(arrays(), files()), min_size=20, max_size=20),
        st.integers(1, 4),
        st.sampled_from(inferencers),
    )
    def run(given_inputs, batch_size, inferencer):
        inputs = []
        for item in given_inputs:
            if isinstance(item, tuple):
                path = tmp_path / f'{next(numbers)}{item[0]}'
                path.write_bytes(item[1])
                item = str(path)
            inputs.append(item)
        inputs.append(inputs[0])  # what is given twice is reported twice
        samples, failures, found = list_images(inputs), {}, []
        for prediction in inferencer.stream(samples, batch_size, failures):
            one = prediction.detections
            found.append(one.name)
            assert one.mask.shape == prediction.image.shape[:2] == one.probability.shape
            assert np.isfinite(one.probability).all()
            assert len(one.rows()) == len(one)
        names = [sample['img_id'] for sample in samples]
        failed = {
            sample['img_id'] for sample in samples if {sample['img_id'], sample.get('img_path')} & failures.keys()
        }
        assert len(found) + len(failures) == len(inputs) == 21
        assert sorted([*found, *failed]) == sorted(names)
        assert all(reason.strip() for reason in failures.values())
        outcomes.update(predicted=len(found), failed=len(failures))
        for item in inputs:
            if isinstance(item, str):
                (tmp_path / item).unlink(missing_ok=True)

    run()
    print(dict(outcomes))
    assert sum(outcomes.values()) >= (10000 if all_tests else 100)
    assert min(outcomes.values()) >= sum(outcomes.values()) // 10

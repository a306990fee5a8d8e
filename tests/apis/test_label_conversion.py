"""`mmirstd convert labels`: closed-form conversions, round trips, splits, and what is refused."""

import json
import sys

import numpy as np
import pytest

from mmirstd.apis import convert_labels
from mmirstd.cli import main
from mmirstd.datasets import FolderDataset
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.annotations import AnnotationError
from mmirstd.io.files import write_png
from mmirstd.io.ids import SplitFileError, read_ids
from mmirstd.io.images import read_image
from mmirstd.utils.errors import ArgumentError, MissingExtraError

SIZE = (32, 48)


def gaussian(center, sigma=2.0, height=100.0, background=20.0):
    rows, cols = np.ogrid[: SIZE[0], : SIZE[1]]
    square = (rows - center[0]) ** 2 + (cols - center[1]) ** 2
    return square, (background + height * np.exp(-square / (2 * sigma**2))).round().astype(np.uint8)


def support(square, sigma=2.0, level=0.3):
    """Pixels of a Gaussian above a share of its height: a disk of radius sigma sqrt(-2 ln level)."""
    return square < -2 * sigma**2 * np.log(level)


@pytest.fixture
def images(tmp_path):
    for name, center in (('a/1', (12, 20)), ('a/2', (10, 30)), ('b/1', (20, 15))):
        write_png(tmp_path / 'images' / f'{name}.png', gaussian(center)[1])
    return tmp_path / 'images'


def coco(path, annotations, **changes):
    names = 'a/1', 'a/2', 'b/1'
    content = {
        'images': [{'id': i, 'file_name': f'{n}.png', 'height': 32, 'width': 48} for i, n in enumerate(names)],
        'annotations': [{'id': i, 'category_id': 1, **a} for i, a in enumerate(annotations)],
        'categories': [{'id': 1, 'name': 'plane'}, {'id': 2, 'name': 'bird'}],
    }
    path.write_text(json.dumps({**content, **changes}))
    return path


def mask_of(folder, name):
    return read_image(folder / 'masks' / f'{name}.png') == 255


@pytest.mark.parametrize(
    'annotation', [{'bbox': [14, 6, 13, 13]}, {'keypoints': [21.5, 12.2, 2]}, {'bbox': [20, 12, 0, 0]}]
)
def test_a_gaussian_in_a_box_or_at_a_point_gives_its_support(annotation, images, tmp_path):
    source = coco(tmp_path / 'boxes.json', [{'image_id': 0, **annotation}])
    report = convert_labels(source, tmp_path / 'out', images=images)
    assert (report.images, report.background, report.targets, report.grown) == (3, 2, 1, 1)
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/1'), support(gaussian((12, 20))[0]))
    assert not mask_of(tmp_path / 'out', 'b/1').any()
    assert read_image(tmp_path / 'out/grown_targets.png').shape[2] == 3
    assert len(FolderDataset(data_root=str(tmp_path / 'out'), pipeline=[])) == 3


def test_dark_targets_and_other_levels(images, tmp_path):
    square, image = gaussian((12, 20))
    write_png(images / 'a/1.png', 255 - image)
    source = coco(tmp_path / 'boxes.json', [{'image_id': 0, 'bbox': [14, 6, 13, 13]}])
    convert_labels(source, tmp_path / 'out', images=images, polarity='dark', level=0.5, sheet=0)
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/1'), support(square, level=0.5))
    assert not (tmp_path / 'out/grown_targets.png').exists()
    with pytest.raises(AnnotationError, match=r'boxes.json, annotation 0 \(a/1.png\): box \[6.0, 14.0, .*brighter'):
        convert_labels(source, tmp_path / 'bright', images=images)
    assert not (tmp_path / 'bright').exists()


def test_polygons_and_run_lengths_keep_their_pixels(images, tmp_path):
    counts = [5, 3, 32 * 48 - 8]  # of columns
    source = coco(
        tmp_path / 'outlines.json',
        [
            {'image_id': 0, 'segmentation': [[4, 6, 9, 6, 9, 10, 4, 10]], 'bbox': [0, 0, 1, 1]},
            {'image_id': 1, 'segmentation': {'size': [32, 48], 'counts': counts}, 'iscrowd': 1},
        ],
    )
    report = convert_labels(source, tmp_path / 'out', images=images)
    assert (report.targets, report.grown, report.sheet) == (2, 0, None)
    expected = np.zeros(SIZE, bool)
    expected[6:10, 4:9] = True
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/1'), expected)
    expected = np.zeros(SIZE, bool)
    expected[5:8, 0] = True
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/2'), expected)


def random_masks(folder, seed=0):
    masks = {}
    for i, name in enumerate(('a/1', 'a/2', 'b/1')):
        masks[name] = np.random.RandomState(seed + i).rand(*SIZE) > 0.9
        write_png(folder / f'{name}.png', masks[name])
    masks['b/2'] = np.zeros(SIZE, bool)
    write_png(folder / 'b/2.png', masks['b/2'])
    return masks


def test_masks_to_coco_and_back(tmp_path):
    masks = random_masks(tmp_path / 'masks')
    for name in masks:
        write_png(tmp_path / 'images' / f'{name}.png', np.full(SIZE, ord(name[0]) + int(name[2]), np.uint8))
    convert_labels(tmp_path / 'masks', tmp_path / 'coco', 'coco')
    convert_labels(tmp_path / 'coco/annotations.json', tmp_path / 'back', images=tmp_path / 'images')
    for name, mask in masks.items():
        assert np.array_equal(mask_of(tmp_path / 'back', name), mask)


def test_boxes_of_a_mask_in_coco_and_yolo(tmp_path):
    mask = np.zeros(SIZE, bool)
    mask[4:8, 12:18] = True
    mask[31, 47] = True
    write_png(tmp_path / 'masks/x.png', mask)
    write_png(tmp_path / 'masks/empty.png', np.zeros(SIZE, bool))
    convert_labels(tmp_path / 'masks', tmp_path / 'coco', 'coco')
    content = json.loads((tmp_path / 'coco/annotations.json').read_text())
    assert [(a['bbox'], a['area'], a['image_id']) for a in content['annotations']] == [
        ([12, 4, 6, 4], 24, 2),
        ([47, 31, 1, 1], 1, 2),
    ]
    assert [i['file_name'] for i in content['images']] == ['empty.png', 'x.png']
    convert_labels(tmp_path / 'masks', tmp_path / 'yolo', 'yolo')
    lines = [list(map(float, line.split())) for line in (tmp_path / 'yolo/labels/x.txt').read_text().splitlines()]
    np.testing.assert_allclose(
        lines, [[0, 15 / 48, 6 / 32, 6 / 48, 4 / 32], [0, 47.5 / 48, 31.5 / 32, 1 / 48, 1 / 32]], atol=1e-5
    )
    assert (tmp_path / 'yolo/labels/empty.txt').read_text() == ''
    assert (tmp_path / 'yolo/classes.txt').read_text() == 'target\n'


def test_detections_become_boxes(tmp_path):
    targets = [{'top': 1, 'left': 2, 'bottom': 4, 'right': 7, 'score': 0.75}]
    report = {'images': [{'image': 'a', 'height': 32, 'width': 48, 'targets': targets}]}
    (tmp_path / 'targets.json').write_text(json.dumps(report))
    convert_labels(tmp_path / 'targets.json', tmp_path / 'out', 'coco')
    (found,) = json.loads((tmp_path / 'out/annotations.json').read_text())['annotations']
    assert (found['bbox'], found['score'], 'segmentation' in found) == ([2, 1, 5, 3], 0.75, False)
    with pytest.raises(ArgumentError, match='--images DIR'):
        convert_labels(tmp_path / 'targets.json', tmp_path / 'masks')
    report['images'][0]['targets'][0]['score'] = float('nan')
    (tmp_path / 'targets.json').write_text(json.dumps(report))
    with pytest.raises(AnnotationError, match=r'targets.json, a, target 1: .*finite numbers.*nan'):
        convert_labels(tmp_path / 'targets.json', tmp_path / 'nan', 'coco')


def test_yolo_boxes_polygons_and_points(images, tmp_path):
    labels = tmp_path / 'labels'
    (labels / 'a').mkdir(parents=True)
    box = f'{20.5 / 48} {12.5 / 32} {13 / 48} {13 / 32}'
    (labels / 'a/1.txt').write_text(f'3 {box} 0.9\n\n')
    (labels / 'a/2.txt').write_text(f'0 {30.5 / 48} {10.5 / 32}\n')
    (labels / 'classes.txt').write_text('ship\n')
    (labels / 'b').mkdir()
    (labels / 'b/1.txt').write_text('0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n')
    report = convert_labels(labels, tmp_path / 'out', images=images)
    assert (report.targets, report.grown, report.categories) == (3, 2, ['0', '3'])
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/1'), support(gaussian((12, 20))[0]))
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/2'), support(gaussian((10, 30))[0]))
    expected = np.zeros(SIZE, bool)
    expected[8:16, 12:24] = True
    assert np.array_equal(mask_of(tmp_path / 'out', 'b/1'), expected)
    # Numbers of classes and the box, which nothing grows, stay.
    convert_labels(labels, tmp_path / 'yolo', 'yolo', images=images, categories=['3'])
    assert (tmp_path / 'yolo/labels/a/2.txt').read_text() == ''
    line = (tmp_path / 'yolo/labels/a/1.txt').read_text().split()
    assert line[0] == '3'
    np.testing.assert_allclose(list(map(float, line[1:])), list(map(float, box.split())), atol=1e-5)


def test_near_points_have_a_background(images, tmp_path):
    image = np.full(SIZE, 20, np.uint8)
    image[4::6, 4::6] = 200
    write_png(images / 'a/1.png', image)
    points = [{'image_id': 0, 'keypoints': [c + 0.5, r + 0.5, 2]} for r in range(4, 32, 6) for c in range(4, 48, 6)]
    report = convert_labels(coco(tmp_path / 'points.json', points), tmp_path / 'out', images=images, sheet=0)
    assert report.grown == len(points) == 40
    assert (report.touching, report.uncertain) == (0, 0)
    assert np.array_equal(mask_of(tmp_path / 'out', 'a/1'), image == 200)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('0 0.5 0.5 0.1', '3 numbers after the class'),
        ('ship 0.5 0.5 0.1 0.1', "'ship 0.5 0.5 0.1 0.1' is no class and numbers"),
        ('0 20 12 6 6', '20 lies outside of'),
        ('0 0.5 0.5 nan 0.1', 'nan lies outside of'),
        ('0 0.05 0.5 0.4 0.1', r'the box lies outside of the image: row 14.4, column -7.2, the image is 32 x 48'),
        ('-1 0.5 0.5 0.1 0.1', 'class -1 is negative'),
    ],
)
def test_wrong_lines_of_yolo(line, message, images, tmp_path):
    (tmp_path / 'labels/a').mkdir(parents=True)
    (tmp_path / 'labels/a/1.txt').write_text(f'\n{line}\n')
    with pytest.raises(AnnotationError, match=rf'labels/a/1.txt, line 2: .*{message}'):
        convert_labels(tmp_path / 'labels', tmp_path / 'out', images=images)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('annotation', 'message'),
    [
        ({'bbox': [40, 6, 13, 13]}, r' \(a/1.png\): the box lies outside of the image: row 19, column 53'),
        ({'bbox': [4, 6, -3, 3]}, r'side of bbox .* is negative: \[4, 6, -3, 3\]'),
        ({'bbox': [4, 6, 3]}, r'bbox must be 4 finite numbers: \[4, 6, 3\]'),
        ({'bbox': [4, 6, 3, '3']}, 'bbox must be 4 finite numbers'),
        ({'bbox': [4, 6, 3, 10**400]}, 'bbox must be 4 finite numbers'),
        ({'image_id': 9, 'bbox': [4, 6, 3, 3]}, 'image_id 9 is that of no image'),
        ({'category_id': 7, 'bbox': [4, 6, 3, 3]}, 'category_id 7 is that of no category'),
        ({}, 'neither segmentation, bbox nor keypoints'),
        ({'segmentation': [[1, 1, 2, 2]]}, 'at least 3 points of 2 numbers, got 4'),
        ({'segmentation': [[1, 1, 90, 1, 2, 9]]}, 'the polygon lies outside of the image: row 1, column 90'),
        ({'segmentation': {'size': [9, 9], 'counts': [81]}}, r'size \[9, 9\], the image of \[32, 48\]'),
        ({'segmentation': {'size': [32, 48], 'counts': [5, 3]}}, 'do not add up to 32 x 48'),
        ({'segmentation': {'size': [32, 48], 'counts': 'oo0P`1'}}, 'do not add up to 32 x 48'),
        ({'segmentation': {'size': [32, 48], 'counts': [1536]}}, 'covers no pixel'),
        ({'keypoints': [1, 2]}, 'x, y and visibility each, got 2'),
        ({'keypoints': [20, 60, 2]}, 'the point lies outside of the image: row 60, column 20'),
    ],
)
def test_wrong_annotations_of_coco(annotation, message, images, tmp_path):
    source = coco(tmp_path / 'wrong.json', [{'image_id': 0, **annotation}])
    with pytest.raises(AnnotationError, match=rf'wrong.json, annotation 0.*{message}'):
        convert_labels(source, tmp_path / 'out', images=images)
    assert not (tmp_path / 'out').exists()


def test_wrong_files(images, tmp_path):
    for text, message in (
        ('{', 'not JSON'),
        ('\0\1', 'not JSON'),
        ('{"images": ' + '1' * 5000 + '}', 'not JSON'),
        ('[]', 'no file of COCO'),
        ('{"images": [3], "annotations": []}', 'images.0'),
    ):
        (tmp_path / 'x.json').write_text(text)
        with pytest.raises(AnnotationError, match=f'x.json: .*{message}'):
            convert_labels(tmp_path / 'x.json', tmp_path / 'out', images=images)
    source = coco(tmp_path / 'x.json', [], images=[{'id': 1, 'file_name': '../../c.png', 'height': 32, 'width': 48}])
    with pytest.raises(AnnotationError, match=r'x.json: 1 annotated images are not in .*images: \.\./\.\./c'):
        convert_labels(source, tmp_path / 'out', images=images)
    source = coco(tmp_path / 'x.json', [], images=[{'id': 1, 'file_name': 'b/1.png', 'height': 48, 'width': 32}])
    with pytest.raises(AnnotationError, match=r'b/1.png is 48 x 32 .* there, the image .*b/1.png 32 x 48'):
        convert_labels(source, tmp_path / 'out', images=images)
    with pytest.raises(ArgumentError, match='--images DIR'):
        convert_labels(source, tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        convert_labels(tmp_path / 'nowhere', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_without_pycocotools_polygons_say_what_is_missing(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    boxes = coco(tmp_path / 'boxes.json', [{'image_id': 0, 'bbox': [14, 6, 13, 13]}])
    assert convert_labels(boxes, tmp_path / 'out', images=images).grown == 1
    polygons = coco(tmp_path / 'polygons.json', [{'image_id': 0, 'segmentation': [[4, 6, 9, 6, 9, 10]]}])
    with pytest.raises(MissingExtraError, match=r"pip install 'mmirstd\[labels\]'"):
        convert_labels(polygons, tmp_path / 'polygons', images=images)


def test_training_reads_what_is_written(images, tmp_path):
    source = coco(tmp_path / 'boxes.json', [{'image_id': 0, 'bbox': [14, 6, 13, 13]}])
    convert_labels(source, tmp_path / 'out', images=images, split=(0.34, 0.33, 0.33))
    pipeline = [LoadIRImage(), LoadTargetMask()]
    samples = {}
    for part in ('train', 'val', 'test'):
        dataset = FolderDataset(data_root=str(tmp_path / 'out'), ann_file=f'{part}.txt', pipeline=pipeline)
        samples |= {sample['img_id']: sample['gt_seg_map'] for sample in map(dataset.__getitem__, range(len(dataset)))}
    assert sorted(samples) == ['a/1', 'a/2', 'b/1']
    assert np.array_equal(samples['a/1'] == 1, support(gaussian((12, 20))[0]))
    assert not samples['a/2'].any()


def test_no_annotations_are_images_of_background(images, tmp_path):
    report = convert_labels(coco(tmp_path / 'empty.json', []), tmp_path / 'out', images=images)
    assert (report.images, report.background, report.targets) == (3, 3, 0)
    assert not mask_of(tmp_path / 'out', 'a/1').any()


def test_skip_bad_leaves_whole_images_out_and_says_so(images, tmp_path, capsys):
    wrong = [{'image_id': 0, 'bbox': [14, 6, 13, 13]}, {'image_id': 0, 'bbox': [90, 6, 3, 3]}]
    source = coco(tmp_path / 'boxes.json', wrong)
    status = main(['convert', 'labels', source, '--images', images, '--out', tmp_path / 'out', '--skip-bad'])
    assert status == 1
    assert 'left out: a/1:' in (said := capsys.readouterr().out)
    assert 'annotation 1 (a/1.png)' in said
    assert not (tmp_path / 'out/masks/a/1.png').exists()
    assert (tmp_path / 'out/masks/a/2.png').exists()


def test_nothing_is_replaced(images, tmp_path):
    source = coco(tmp_path / 'boxes.json', [{'image_id': 0, 'bbox': [14, 6, 13, 13]}])
    first = convert_labels(source, tmp_path / 'out', images=images)
    assert first.written == 7  # 3 masks, 3 images, the sheet
    assert convert_labels(source, tmp_path / 'out', images=images).written == 0
    with pytest.raises(FileExistsError, match=r'masks/a/1\.png'):
        convert_labels(source, tmp_path / 'out', images=images, level=0.6)
    assert convert_labels(source, tmp_path / 'out', images=images, level=0.6, overwrite=True).written == 2
    (tmp_path / 'c').mkdir()
    mine = coco(tmp_path / 'c/annotations.json', [{'image_id': 0, 'bbox': [14, 6, 13, 13]}])
    with pytest.raises(FileExistsError, match='would replace what is read here'):
        convert_labels(mine, tmp_path / 'c', 'coco', images=images, overwrite=True)


def test_categories_that_never_occur_are_refused(images, tmp_path, call):
    source = coco(tmp_path / 'c.json', [{'image_id': i, 'category_id': i + 1, 'bbox': [14, 6, 13, 13]} for i in (0, 1)])
    with pytest.raises(ArgumentError, match=r'--categories Plane: .*c.json has .*plane.*did you mean plane'):
        convert_labels(source, tmp_path / 'out', images=images, categories=['Plane'])
    assert not (tmp_path / 'out').exists()
    options = ['--images', images, '--categories', 'plane', '--categories', 'bird']
    assert call('convert', 'labels', source, '--out', tmp_path / 'out', *options) == 0
    assert [mask_of(tmp_path / 'out', name).any() for name in ('a/1', 'a/2', 'b/1')] == [True, True, False]


def test_outputs_do_not_become_inputs(images, tmp_path):
    source = coco(tmp_path / 'c.json', [{'image_id': 0, 'bbox': [14, 6, 13, 13]}])
    for out in (images, images / 'a/out'):
        with pytest.raises(ArgumentError, match='what is written would be read as images'):
            convert_labels(source, out, images=images)
    assert convert_labels(source, tmp_path, images=images).images == 3  # images/ is its own folder of images
    assert convert_labels(source, tmp_path, images=images).written == 0


def test_usual_endings_of_masks_are_not_of_the_image(tmp_path):
    _, image = gaussian((12, 20))
    write_png(tmp_path / 'masks/Misc_1_pixels0.png', np.where(image > 60, 255, 0).astype(np.uint8))
    write_png(tmp_path / 'images/Misc_1.png', image)
    for folder in (None, tmp_path / 'images'):
        out = tmp_path / f'out_{folder is None}'
        convert_labels(tmp_path / 'masks', out, 'coco', images=folder)
        content = json.loads((out / 'annotations.json').read_text())
        assert [i['file_name'] for i in content['images']] == ['Misc_1.png']
        assert len(content['annotations']) == 1
    write_png(tmp_path / 'images/Misc_1_pixels0.png', image)
    (tmp_path / 'images/Misc_1.png').unlink()
    convert_labels(tmp_path / 'masks', tmp_path / 'own', 'coco', images=tmp_path / 'images')
    assert 'Misc_1_pixels0.png' in (tmp_path / 'own/annotations.json').read_text()


def test_what_no_split_can_say_is_refused_before_images_are_read(images, tmp_path, monkeypatch):
    source = coco(tmp_path / 'c.json', [])
    monkeypatch.setattr('mmirstd.apis.label_conversion.read_image', lambda path: pytest.fail('an image was read'))
    options = {'images': images, 'split': [0.5, 0.5, 0]}
    with pytest.raises(ArgumentError, match='no regular expression'):
        convert_labels(source, tmp_path / 'out', **options, by_sequence='(')
    write_png(images / 'bild\udcfc.png', gaussian((12, 20))[1])
    with pytest.raises(SplitFileError, match=r"c\.json: the name 'bild\\udcfc' is no UTF-8"):
        convert_labels(source, tmp_path / 'out', **options)


def test_splits_divide_no_sequence_and_no_equal_images(tmp_path):
    for sequence in range(10):
        for frame in range(4):
            # The first frames of sequences 8 and 9 have the same pixels.
            level = 8 if frame == 0 and sequence == 9 else sequence + 20 * frame
            write_png(tmp_path / f'images/s{sequence}_{frame}.png', np.full((8, 8), level, np.uint8))
            write_png(tmp_path / f'masks/s{sequence}_{frame}.png', np.eye(8, dtype=bool))

    def parts(out, **options):
        done = convert_labels(
            tmp_path / 'masks', tmp_path / out, images=tmp_path / 'images', split=(0.7, 0.1, 0.2), **options
        )
        ids = {part: read_ids(tmp_path / out / f'{part}.txt') for part in ('train', 'val', 'test')}
        assert {part: len(found) for part, found in ids.items()} == done.splits
        assert sorted(i for found in ids.values() for i in found) == sorted(
            p.stem for p in (tmp_path / 'images').iterdir()
        )
        return ids, done

    by_sequence, report = parts('sequences', by_sequence=r'^(s\d+)_')
    sequences = [{i.split('_')[0] for i in found} for found in by_sequence.values()]
    assert sum(map(len, sequences)) == len(set.union(*sequences)) == 10
    assert any({'s8', 's9'} <= found for found in sequences)
    assert report.sequences == 9
    assert parts('again', by_sequence=r'^(s\d+)_')[0] == by_sequence
    assert parts('other', by_sequence=r'^(s\d+)_', seed=1)[0] != by_sequence
    at_random, _ = parts('random')
    assert {part: len(found) for part, found in at_random.items()} == {'train': 28, 'val': 4, 'test': 8}
    assert sum({'s8_0', 's9_0'} <= set(found) for found in at_random.values()) == 1
    with pytest.raises(ArgumentError, match=r"'\^\(t\\\\d\)' names none for 40 ids: s0_0"):
        parts('wrong', by_sequence=r'^(t\d)')
    with pytest.raises(ArgumentError, match='no regular expression'):
        parts('wrong', by_sequence='(')
    with pytest.raises(ArgumentError, match='1 sequences cannot be divided into 3'):
        parts('wrong', by_sequence='^s')
    convert_labels(tmp_path / 'masks', tmp_path / 'coco', 'coco', split=(0.5, 0, 0.5), by_sequence=r'^(s\d+)_')
    train, test = (json.loads((tmp_path / f'coco/annotations/{p}.json').read_text()) for p in ('train', 'test'))
    assert not {i['id'] for i in train['images']} & {i['id'] for i in test['images']}
    assert len(train['images']) + len(test['images']) == 40


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'split': (0.7, 0.1, 0.1)}, 'add up to 1'),
        ({'split': (0.0, 0.5, 0.5)}, 'add up to 1'),
        ({'by_sequence': '^a'}, '--split'),
        ({'level': 1.0}, 'between 0 and 1'),
        ({'window': 8}, 'odd window'),
        ({'to': 'voc'}, "'voc'"),
    ],
)
def test_wrong_options(options, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        convert_labels(tmp_path, tmp_path / 'out', **options)


def test_pixels_of_real_masks_survive(real_data, tmp_path):
    names = sorted(p.name for p in (real_data / 'NUDT-SIRST/masks').iterdir())[:3]
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).symlink_to(real_data / 'NUDT-SIRST' / folder / name)
    convert_labels(tmp_path / 'masks', tmp_path / 'coco', 'coco', images=tmp_path / 'images')
    convert_labels(tmp_path / 'coco/annotations.json', tmp_path / 'out', images=tmp_path / 'images', link='symbolic')
    for name in names:
        assert np.array_equal(read_image(tmp_path / 'out/masks' / name), read_image(tmp_path / 'masks' / name))

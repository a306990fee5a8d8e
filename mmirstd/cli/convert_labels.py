"""Make masks from boxes, outlines and points, or boxes from masks and detections, and draw splits.

    mmirstd convert labels annotations.json --images images --out data/mine --split 0.7 0.1 0.2
    mmirstd convert labels labels --images images --out data/mine --split 0.7 0.1 0.2 --by-sequence '^(.+)/'
    mmirstd convert labels data/mine/masks --to coco --out boxes
    mmirstd convert labels detections/targets.json --to yolo --images images --out boxes

SOURCE is one of

  FILE.json     annotations of COCO: segmentations, boxes, keypoints
  FOLDER        text files of YOLO, one for each image: boxes, polygons or points; or masks
  targets.json  the detections of `mmirstd infer`

A target that has a box or a point alone is grown: from the peak to all connected pixels above a level between
background and peak, inside the box. grown_targets.png shows those that stand out least: look at it.
"""

import argparse

from mmirstd.cli.options import keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.convert_labels`."""
    add = parser.add_argument
    add('source', metavar='SOURCE', help='one of the above')
    add('--out', required=True, metavar='DIR', help='folder to write to; files that are there and equal stay')
    add('--to', choices=['masks', 'coco', 'yolo'], default='masks', help='what to write (default: masks)')
    add('--images', metavar='DIR', help='folder of the images; not needed for masks to boxes')
    add(
        '--categories',
        nargs='+',
        action='extend',
        metavar='NAME',
        help='take only these, as the source names or numbers them; default: all',
    )
    add('--level', type=float, default=0.3, metavar='SHARE', help='of the way from background to peak (default: 0.3)')
    add('--ring', type=int, default=5, metavar='PIXELS', help='width of the surroundings of a box (default: 5)')
    add('--window', type=int, default=15, metavar='PIXELS', help='side of the box around a point, odd (default: 15)')
    add('--polarity', choices=['bright', 'dark'], default='bright', help='of targets (default: bright)')
    add('--split', type=float, nargs=3, metavar=('TRAIN', 'VAL', 'TEST'), help='draw splits with these shares')
    add(
        '--by-sequence',
        metavar='PATTERN',
        help="divide no sequence: a regular expression whose first group names it in an id, e.g. '^(.+)/' for folders",
    )
    add('--seed', type=int, default=0, help='of the splits (default: 0)')
    add('--link', choices=['hard', 'symbolic'], help='link to the images instead of copying them')
    add('--sheet', type=int, default=24, metavar='N', help='grown targets on the sheet (default: 24; 0 for none)')
    add('--skip-bad', action='store_true', help='leave out images with wrong annotations instead of writing nothing')
    add('--overwrite', action='store_true', help='allow replacing files in --out that differ')


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was written; the exit status is 1 if images were left out."""
    from mmirstd.apis import convert_labels

    report = convert_labels(**keywords(args))
    print(report.to_text())
    return 1 if report.left_out else 0

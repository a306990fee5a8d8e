"""Score saved predictions of any code by any protocol: ``eval_predictions.py PRED_DIR MASK_DIR --preset all``.

Pairs predictions with masks by name and prints one table. ``--out`` writes a report that holds all that is needed to
make the figures again; break-downs, curves, intervals and pictures of the worst images come on request.
"""

import argparse
import json
import os
import os.path as osp
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

try:
    from mmirstd.apis import tool_options as cli
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None
import cv2
import numpy as np
from mmengine.config import DictAction
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmirstd.datasets.transforms.loading import to_channels
from mmirstd.evaluation.analysis.breakdowns import ImageRecord, Target, by_image, image_record, worst_images
from mmirstd.evaluation.analysis.predictions import (
    Pair,
    Pairing,
    hold_labels,
    load_split,
    pair_files,
    read_prediction,
)
from mmirstd.evaluation.analysis.reports import (
    Result,
    break_down,
    csv_rows,
    csv_table,
    markdown_report,
    markdown_rows,
    plain,
    plain_results,
    sweep_summary,
    text_table,
    versions,
)
from mmirstd.evaluation.functional.counts import ProtocolCounts, protocol_counts, protocol_figures, sum_protocol_counts
from mmirstd.evaluation.functional.intervals import bootstrap_intervals
from mmirstd.evaluation.functional.protocols import PRESETS, Protocol, get_protocols
from mmirstd.evaluation.functional.sweeps import (
    ComponentSweep,
    PixelSweep,
    component_sweep,
    pixel_sweep,
    sum_sweeps,
    sweep_thresholds,
)
from mmirstd.io.files import write_atomically
from mmirstd.io.ids import digest
from mmirstd.io.images import decode_image
from mmirstd.io.masks import read_mask
from mmirstd.ops.resizing import resize_nearest
from mmirstd.utils.text import abridge
from mmirstd.visualization import draw_detections
from mmirstd.visualization.curves import component_csv, draw_pd_fa, draw_pr, draw_roc, pixel_csv

LISTED = 20
WORST = ('img_id', 'targets', 'missed', 'false_components', 'false_pixels', 'IoU')
SUM_AFTER = 256  # images whose sweeps are kept before they are added up


class Scored(NamedTuple):
    """What is kept of one image."""

    counts: list[ProtocolCounts]
    record: ImageRecord
    sweeps: tuple[PixelSweep, ComponentSweep] | None


class Scorer(Dataset):
    """Scores pairs of files, for a DataLoader; an error is handed back as text.

    A worker's own report of an error is a page long, and an exception that cannot be pickled would never arrive.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        protocols: list[Protocol],
        *,
        labels: bool,
        key: str | None,
        thresholds: np.ndarray | None,
        rule: dict[str, Any],
        scr: bool,
    ) -> None:
        self.pairs = pairs
        self.protocols = protocols
        self.labels = labels
        self.key = key
        self.thresholds = thresholds
        self.rule = rule
        self.scr = scr

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Scored | str:
        """Score one."""
        pair = self.pairs[index]
        try:
            prediction, mask, image = self.load(pair, with_image=self.scr)
            counts = protocol_counts(prediction, mask, self.protocols, source=pair.img_id)
            mask = resize_nearest(mask, prediction.shape, PRESETS['exact'].mask_interpolation)
            record = image_record(prediction, mask, img_id=pair.img_id, image=image, **self.rule)
            sweeps = None
            if self.thresholds is not None:
                matching = {k: v for k, v in self.rule.items() if k != 'threshold'}
                sweeps = (
                    pixel_sweep(prediction, mask, self.thresholds),
                    component_sweep(prediction, mask, self.thresholds, **matching),
                )
        except Exception as e:
            if os.environ.get('MMIRSTD_TRACEBACK'):
                raise
            return str(e) if isinstance(e, ValueError | OSError) else cli.describe(e)
        return Scored(counts, record, sweeps)

    def load(self, pair: Pair, with_image: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Probabilities, values of the mask file, and the image (BGR) at the size of the prediction."""
        mask = read_mask(pair.mask)
        if pair.prediction is None:
            prediction = np.zeros(mask.shape, np.float32)
        else:
            prediction = read_prediction(pair.prediction, labels=self.labels, key=self.key)
        if not with_image or pair.image is None:
            return prediction, mask, None
        image = decode_image(pair.image.read_bytes(), str(pair.image))
        image = to_channels(image if image.dtype == np.uint8 else image.astype(np.float32), 3)
        if image.shape[:2] != prediction.shape:
            image = cv2.resize(image, prediction.shape[::-1], interpolation=cv2.INTER_AREA)
        return prediction, mask, image


def score(
    scorer: Scorer, workers: int
) -> tuple[list[list[ProtocolCounts]], list[ImageRecord], tuple[PixelSweep, ComponentSweep] | None]:
    """Score all pairs, with a progress bar: per image the counts of each protocol and a record; and summed sweeps."""
    # As MMEngine does before it starts workers: a forked process hangs in OpenCV's threads.
    cv2.setNumThreads(0)
    loader = DataLoader(scorer, batch_size=None, num_workers=workers, collate_fn=_as_it_is)
    counts, records, sweeps = [], [], []
    for item in tqdm(loader, 'scoring', len(scorer), unit=' images', file=sys.stderr):
        if isinstance(item, str):
            raise SystemExit(f'error: {item}')
        counts.append(item.counts)
        records.append(item.record)
        if item.sweeps:
            sweeps.append(item.sweeps)
        if len(sweeps) == SUM_AFTER:
            sweeps = [tuple(map(sum_sweeps, zip(*sweeps, strict=True)))]
    return counts, records, tuple(map(sum_sweeps, zip(*sweeps, strict=True))) if sweeps else None


def _as_it_is(item: Any) -> Any:
    return item


def choose_protocols(presets: Sequence[str], settings: dict[str, Any]) -> list[Protocol]:
    """The presets, each changed by the settings."""
    names = PRESETS if 'all' in presets else dict.fromkeys(presets)
    return get_protocols([{'preset': name, **settings} for name in names])


def refuse_misfits(pairing: Pairing, args: argparse.Namespace) -> None:
    """List what is missing, extra or of another size, and end unless it is allowed."""
    sizes = [f'{img_id}: {text}' for img_id, text in pairing.sizes.items()]
    kinds = [
        ('without a prediction', pairing.missing, args.allow_missing or args.missing_as_empty,
         '--split says what to evaluate, --allow-missing leaves them out, --missing-as-empty scores empty maps'),
        ('predictions without a mask', pairing.extra, args.allow_extra, '--allow-extra leaves them out'),
        ('of another size than the mask', sizes, args.allow_sizes, '--allow-sizes lets presets do as their codes do'),
    ]  # fmt: skip
    problems = [
        f'{len(items)} {what}: {abridge(items, LISTED)}\n    ({advice})'
        for what, items, allowed, advice in kinds
        if items and not allowed
    ]
    for what, items, allowed, _ in kinds:
        if items and allowed:
            print(f'{len(items)} {what}: {abridge(items, LISTED)}', file=sys.stderr)
    if problems:
        raise SystemExit('error: predictions and masks do not fit:\n  ' + '\n  '.join(problems))


def measure(protocols: list[Protocol], counts: list[list[ProtocolCounts]], resamples: int, seed: int) -> list[Result]:
    """Add up each protocol's counts, and make its figures and intervals."""
    results = []
    for protocol, own in zip(protocols, zip(*counts, strict=True), strict=True):
        total = sum_protocol_counts(own)
        intervals = bootstrap_intervals(own, protocol, resamples=resamples, seed=seed) if resamples else {}
        figures = protocol_figures(total, protocol)
        results.append(Result(protocol=protocol, figures=figures, intervals=intervals, counts=asdict(total)))
    return results


def draw_curves(pixels: PixelSweep, components: ComponentSweep, name: str, folder: Path) -> list[str]:
    """Write pictures and tables of the curves; returns the names of the pictures."""
    files = {
        'roc.png': _png(draw_roc({name: pixels})),
        'pr.png': _png(draw_pr({name: pixels})),
        'pd_fa.png': _png(draw_pd_fa({name: components})),
        'pixels.csv': pixel_csv(pixels),
        'components.csv': component_csv(components),
    }
    for file, content in files.items():
        write_atomically(folder / file, content)
    return [file for file in files if file.endswith('.png')]


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode('.png', picture[..., ::-1])[1].tobytes()


def draw_worst(worst: list[ImageRecord], scorer: Scorer, folder: Path) -> list[str]:
    """Pictures of images with their detections, misses and false alarms; returns the names of the files."""
    by_id = {pair.img_id: pair for pair in scorer.pairs}
    options = {k: v for k, v in scorer.rule.items() if k != 'threshold'}
    names = []
    for rank, record in enumerate(tqdm(worst, 'drawing', file=sys.stderr), 1):
        prediction, mask, image = scorer.load(by_id[record.img_id], with_image=True)
        mask = resize_nearest(mask, prediction.shape, PRESETS['exact'].mask_interpolation)
        shown = prediction if image is None else image[..., ::-1]
        positive = prediction > scorer.rule.get('threshold', 0.5)
        drawn = draw_detections(shown, mask >= 128, positive, name=record.img_id, **options)
        safe = re.sub(r'[^\w.()-]+', '_', record.img_id)
        names.append(f'worst/{rank:03d}_{safe}.png')
        (folder / 'worst').mkdir(exist_ok=True)
        write_atomically(folder / names[-1], _png(drawn))
    return names


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Score saved predictions by one or several protocols.')
    parser.add_argument('pred_dir', type=Path, metavar='PRED_DIR', help='predictions: images, .npz, .npy or .mat')
    parser.add_argument('mask_dir', type=Path, metavar='MASK_DIR', help='masks, as published')
    parser.add_argument(
        '--preset',
        nargs='+',
        action='extend',
        choices=[*PRESETS, 'all'],
        metavar='NAME',
        help=f'{", ".join(PRESETS)} or all (default: exact)',
    )
    parser.add_argument(
        '--set',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        dest='settings',
        help='change the presets, e.g. threshold=0.4 size=512; docs/concepts/protocols.md has the names',
    )
    files = parser.add_argument_group('files')
    files.add_argument('--images', type=Path, metavar='DIR', help='for pictures and signal-to-clutter ratios')
    files.add_argument('--split', metavar='LIST', help="text file of ids, or a name like 'NUAA-SIRST basicirstd/test'")
    files.add_argument('--nested', action='store_true', help='read folders below, too; they belong to the ids')
    for kind in ('pred', 'mask', 'img'):
        files.add_argument(
            f'--{kind}-suffix',
            metavar='SUFFIX',
            help='what follows the id in the names (default: usual ones are known)',
        )
    files.add_argument('--key', help='name of the array in .npz and .mat files')
    files.add_argument(
        '--labels',
        choices=['auto', 'yes', 'no'],
        default='auto',
        help='whether images hold labels 0 and 1 (default: if none holds another value)',
    )
    files.add_argument('--allow-missing', action='store_true', help='leave out masks without a prediction')
    files.add_argument('--missing-as-empty', action='store_true', help='take them as empty predictions')
    files.add_argument('--allow-extra', action='store_true', help='leave out predictions without a mask')
    files.add_argument('--allow-sizes', action='store_true', help='allow predictions of another size than their masks')
    out = parser.add_argument_group('output')
    out.add_argument('--json', type=Path, metavar='FILE', help='the report as JSON')
    out.add_argument('--out', type=Path, metavar='DIR', help='report.md, report.json, figures.csv, images.csv and more')
    out.add_argument('--overwrite', action='store_true', help='allow replacing files')
    out.add_argument('--breakdown', action='store_true', help='by area and, with --images, by signal-to-clutter ratio')
    out.add_argument('--curves', action='store_true', help='ROC, precision-recall and Pd-Fa; needs --out')
    out.add_argument('--thresholds', type=int, default=255, metavar='N', help='of the curves (default: 255)')
    out.add_argument('--worst', type=int, default=0, metavar='N', help='pictures of the worst images; needs --out')
    out.add_argument('--worst-by', choices=['IoU', 'false_pixels', 'missed'], default='IoU', help='default: IoU')
    out.add_argument('--bootstrap', type=int, default=0, metavar='N', help='95 %% intervals from N resamples of images')
    out.add_argument('--seed', type=int, default=0, help='of the resamples (default: 0)')
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    args = parser.parse_args(argv)
    for name, least in {'thresholds': 2, 'worst': 0, 'bootstrap': 0, 'seed': 0, 'workers': 0}.items():
        if getattr(args, name) < least:
            parser.error(f'--{name} must be at least {least}, got {getattr(args, name)}')
    for name in ('curves', 'worst'):
        if getattr(args, name) and not args.out:
            parser.error(f'--{name} needs --out, a folder to write to')
    if args.allow_missing and args.missing_as_empty:
        parser.error('--allow-missing and --missing-as-empty exclude each other')
    args.command = shlex.join(['eval_predictions.py', *(sys.argv[1:] if argv is None else argv)])
    return args


def refuse_overwriting(args: argparse.Namespace) -> None:
    """See that nothing is replaced that was not meant to be."""
    if args.overwrite:
        return
    if args.json and args.json.exists():
        raise SystemExit(f'error: {args.json} is there already: allow replacing it with --overwrite')
    if args.out and args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise SystemExit(f'error: {args.out} is not empty: choose another --out, or allow replacing with --overwrite')


def main(argv: list[str] | None = None) -> None:
    """Score."""
    args = parse_args(argv)
    with cli.one_line_errors():
        refuse_overwriting(args)
        protocols = choose_protocols(args.preset or ['exact'], args.settings)
        split, ids = load_split(args.split) if args.split else ('all masks', None)
        pairing = pair_files(
            args.pred_dir,
            args.mask_dir,
            img_dir=args.images,
            ids=ids,
            pred_suffix=args.pred_suffix,
            mask_suffix=args.mask_suffix,
            img_suffix=args.img_suffix,
            nested=args.nested,
            key=args.key,
            progress=True,
        )
        refuse_misfits(pairing, args)
        pairs = [p for p in pairing.pairs if p.prediction is not None or args.missing_as_empty]
        predictions = [p.prediction for p in pairs if p.prediction is not None]
        if not predictions:
            raise SystemExit(f'error: {args.pred_dir} holds no prediction of {split}')
        labels = args.labels == 'yes' or (args.labels == 'auto' and hold_labels(predictions))
        thresholds = None
        if args.curves:  # evenly spaced ones for PNG, and far out towards 0 and 1, where networks put their values
            both = sweep_thresholds(args.thresholds), sweep_thresholds(args.thresholds, 'logit')
            thresholds = np.unique(np.concatenate(both))
        scorer = Scorer(
            pairs,
            protocols,
            labels=labels,
            key=args.key,
            thresholds=thresholds,
            rule={k: v for k, v in args.settings.items() if k in ('threshold', 'distance', 'connectivity')},
            scr=args.breakdown,
        )
        counts, records, sweeps = score(scorer, args.workers)
        results = measure(protocols, counts, args.bootstrap, args.seed)
        print(text_table(results))
        all_ids, used = [p.img_id for p in pairing.pairs], [p.img_id for p in pairs]
        report = {
            'predictions': str(args.pred_dir),
            'masks': str(args.mask_dir),
            'values': 'images with labels 0 and 1' if labels else 'probabilities; images as value / 255',
            'split': {'name': split, 'num': len(all_ids), 'sha256': digest(all_ids)},
            'evaluated': {'num': len(used), 'sha256': digest(used)},
            'missing': pairing.missing,
            'missing_are': 'taken as empty' if args.missing_as_empty else 'left out',
            'extra': pairing.extra,
            'unlisted': pairing.unlisted,
            'sizes': pairing.sizes,
            'bootstrap': {'level': 0.95, 'resamples': args.bootstrap, 'seed': args.seed} if args.bootstrap else None,
            'command': args.command,
            'versions': versions(),
            'protocols': plain_results(results),
        }
        write(args, report, results, records, sweeps, scorer)


def write(
    args: argparse.Namespace,
    report: dict[str, Any],
    results: list[Result],
    records: list[ImageRecord],
    sweeps: tuple[PixelSweep, ComponentSweep] | None,
    scorer: Scorer,
) -> None:
    """Print what was asked for beside the figures, and write the files."""
    sections = []
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    if args.breakdown:
        report['breakdown'] = tables = break_down(records, with_scr=args.images is not None)
        text = '\n\n'.join(f'{title}:\n\n{markdown_rows(rows)}' for title, rows in tables.items())
        sections.append(('Break-down (exact)', text))
        print(f'\n{text}')
    if sweeps:
        report['curves'] = summary = sweep_summary(*sweeps)
        pictures = draw_curves(*sweeps, args.pred_dir.name, args.out)
        text = '\n\n'.join(markdown_rows(rows) for rows in summary.values())
        sections.append(('Curves', f'{text}\n\n' + '\n'.join(f'![{p}]({p})' for p in pictures)))
        print(f'\n{text}')
    if args.worst:
        worst = worst_images(records, args.worst_by, args.worst)
        pictures = draw_worst(worst, scorer, args.out)
        report['worst'] = {'by': args.worst_by, 'images': [r.img_id for r in worst], 'pictures': pictures}
        rows = [{k: row[k] for k in WORST} for row in by_image(worst)]
        text = (
            markdown_rows(rows)
            + '\n\n'
            + '\n'.join(f'![{r.img_id}]({p})' for r, p in zip(worst, pictures, strict=True))
        )
        sections.append((f'Worst images by {args.worst_by}', text))
    content = (json.dumps(plain(report), indent=2, allow_nan=False) + '\n').encode()
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(args.json, content)
    if args.out:
        write_atomically(args.out / 'report.json', content)
        write_atomically(args.out / 'report.md', markdown_report(report, results, sections).encode())
        write_atomically(args.out / 'figures.csv', csv_table(results))
        write_atomically(args.out / 'images.csv', csv_rows(by_image(records)))
        rows = [{'img_id': r.img_id, **t._asdict()} for r in records for t in r.targets]
        write_atomically(args.out / 'targets.csv', csv_rows(rows, ('img_id', *Target._fields)))
    places = [str(p) for p in (args.json, args.out and args.out / 'report.md') if p]
    if places:
        print(f'\nreport: {", ".join(places)}', file=sys.stderr)


if __name__ == '__main__':
    main()

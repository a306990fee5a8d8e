"""Run README.md's commands and Python as they stand there, in the current folder, on small data and for a few steps.

Files that the README takes for granted are made first: a download of NUDT-SIRST with images of 64 x 64 pixels,
predictions and checkpoints. Lines for a checkout (make, pip, tools/) are left out.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmirstd.apis import list_models
from mmirstd.datasets.published_splits import load_published

STEPS = 2
SHORT = [
    '--cfg-options',
    f'train_cfg.max_iters={STEPS}',
    f'train_cfg.val_interval={STEPS}',
    f'default_hooks.checkpoint.interval={STEPS}',
    'train_dataloader.batch_size=2',
    'val_dataloader.dataset.indices=4',
]
FEW = ['--cfg-options', 'test_dataloader.dataset.indices=4']
DOWNLOAD, DATA = Path('downloads/NUDT-SIRST'), Path('data/NUDT-SIRST')
FIRST = ('prepare', 'train')


def code_blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks of a language."""
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.M | re.S)


def commands(text: str) -> list[list[str]]:
    """Return the README's command lines of mmirstd, split into words."""
    lines = '\n'.join(code_blocks(text, 'bash')).replace('\\\n', ' ').splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line[:1] == ['mmirstd']]


def make_data() -> None:
    """Write small images and masks under the names of NUDT-SIRST, and what commands call images and predictions."""
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (DOWNLOAD / name).mkdir(parents=True)
    ids = [i for part in ('train', 'test') for i in load_published('NUDT-SIRST', f'basicirstd/{part}')[1]]
    for img_id in ids:
        image, mask = rng.integers(0, 60, (64, 64), np.uint8), np.zeros((64, 64), np.uint8)
        y, x = rng.integers(2, 58, 2)
        mask[y : y + 3, x : x + 3] = 255
        Image.fromarray(np.maximum(image, mask)).save(DOWNLOAD / f'images/{img_id}.png')
        Image.fromarray(mask).save(DOWNLOAD / f'masks/{img_id}.png')
    for folder, source in (('images', 'images'), ('MASK_DIR', 'masks'), ('PRED_DIR', 'masks')):
        Path(folder).mkdir()
        for img_id in ids[:4]:
            shutil.copy(DOWNLOAD / source / f'{img_id}.png', folder)
    shutil.copy(DOWNLOAD / f'images/{ids[0]}.png', 'image.png')


def run(*words: str) -> None:
    """Run a command, and show it."""
    print('--', shlex.join(words), flush=True)
    subprocess.run(words, check=True)


def make_checkpoints(text: str) -> None:
    """Train for a few steps what the text calls by name with a checkpoint that is not there yet."""
    names = '|'.join(map(re.escape, sorted(list_models(), key=len, reverse=True)))
    for name, checkpoint in re.findall(rf"\b({names})'?,?(?: --checkpoint)?\s+'?([\w./-]+\.pth)", text):
        if not Path(checkpoint).exists():
            work_dir = f'made/{Path(checkpoint).stem}_{name}'
            run('mmirstd', 'train', name, '--data-root', str(DATA), '--work-dir', work_dir, *SHORT)
            (best,) = Path(work_dir).glob('best_*.pth')
            Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(best, checkpoint)


def main() -> None:
    """Make the files, and run everything in the order of the README, preparation and training first."""
    text = Path(sys.argv[1]).read_text(encoding='utf-8')
    lines = commands(text)
    kinds = [line[1] for line in lines]
    if missing := {'prepare', 'train', 'test', 'infer', 'eval'} - set(kinds):
        sys.exit(f'README.md shows no command of {", ".join(sorted(missing))}')
    make_data()
    for line in sorted(lines, key=lambda line: FIRST.index(line[1]) if line[1] in FIRST else len(FIRST)):
        if line[1] == 'train':
            run(*line, *SHORT)
            make_checkpoints(text)
        else:
            run(*line, *(FEW if line[1] == 'test' else ()))
    for i, block in enumerate(code_blocks(text, 'python')):
        path = Path(f'readme_{i}.py')
        path.write_text(block, encoding='utf-8')
        print(f'-- python {path}\n{block}', flush=True)
        runpy.run_path(str(path))
    for option in ('--show-dir', '--out'):
        for line in lines:
            if option in line:
                folder = Path(line[line.index(option) + 1])
                if not any(p.stat().st_size for p in folder.rglob('*') if p.is_file()):
                    sys.exit(f'{shlex.join(line)} wrote nothing to {folder}')


if __name__ == '__main__':
    main()

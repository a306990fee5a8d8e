import os
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
VERSION = runpy.run_path(str(ROOT / 'mmirstd/version.py'))['__version__']
STACK = runpy.run_path(str(ROOT / 'mmirstd/utils/stack.py'))


class BuildPyWithMim(build_py):
    """Adds ``mmirstd/.mim`` with configs and tools, where MMEngine and mim look for them.

    MMSegmentation's own ``add_mim_extension`` reads ``sys.argv`` and does nothing under PEP 517/660 builds.
    """

    contents = ('configs', 'tools', 'model-index.yml')
    # Pictures of the docs and measurements of this repository: nothing for users.
    left_out = ('__pycache__', '*.pyc', 'figures', 'benchmarks', 'demo.py')

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # links, so that edits in the checkout are seen
            mim, put = ROOT / 'mmirstd/.mim', self._link
        else:
            mim, put = Path(self.build_lib) / 'mmirstd/.mim', self._copy
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in self.contents:
            put(ROOT / name, mim / name)

    @staticmethod
    def _link(source: Path, target: Path) -> None:
        target.symlink_to(os.path.relpath(source, target.parent))

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(*BuildPyWithMim.left_out))
        else:
            shutil.copy2(source, target)


setup(
    name='mmirstd',
    version=VERSION,
    description='Infrared small target detection on MMSegmentation: models, data, metrics and a command line',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8') if (ROOT / 'README.md').exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10',
    packages=find_packages(include=['mmirstd', 'mmirstd.*']),
    entry_points={'console_scripts': ['mmirstd = mmirstd.cli:main']},
    package_data={'mmirstd': ['weights/*'], 'mmirstd.datasets': ['splits/**/*.txt']},
    # OpenCV comes with either stack; which of its distributions is the user's choice.
    install_requires=[
        f'torch>={STACK["MIN_TORCH"]}',
        'filelock>=3.20',
        'numpy>=1.26',
        'scipy>=1.11',
        'matplotlib>=3.8',
        'packaging>=22.0',
        'pillow>=10.1',
        'prettytable>=3.0',
        'pyyaml>=6.0',
        'safetensors>=0.4.3',
        'tifffile>=2025.5.10',
        'tqdm>=4.62',
    ],
    extras_require={
        'onedl': STACK['requirements']('onedl'),
        'openmmlab': STACK['requirements']('openmmlab'),
        # Compressions of TIFF beside Deflate, PackBits and LZMA: LZW, Zstandard, JPEG; packed samples of 10 to 14 bits.
        'tiff': ['imagecodecs>=2025.3.30'],
        'tensorboard': ['tensorboard>=2.15'],
        'interop': ['onedl-mmpretrain', 'timm', 'torchvision', 'segment-anything'],
        # torch.onnx.export, and running what it writes.
        'export': ['onnx>=1.18', 'onnxscript>=0.5', 'onnxruntime>=1.20'],
        # The page in the browser. It goes with pillow < 13, so it has requirements/app.txt for itself.
        'app': ['gradio>=6.0', 'starlette>=0.40'],
        # Tracks over the frames of a video.
        'video': ['supervision>=0.31', 'trackers>=2.6'],
        # Polygons and run lengths of COCO.
        'labels': ['pycocotools>=2.0.8'],
        'docs': ['mkdocs-material>=9.6', 'mkdocstrings[python]>=1.0', 'ruff'],
        'dev': [
            'pytest',
            'pytest-cov',
            'pytest-xdist',
            'hypothesis',
            'imagecodecs',
            'pycocotools',
            'tensorboard',
            'trackers',
            'ruff',
            'import-linter',
        ],
    },
    cmdclass={'build_py': BuildPyWithMim},
    zip_safe=False,
    classifiers=[
        'Programming Language :: Python :: 3',
        'Intended Audience :: Science/Research',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)

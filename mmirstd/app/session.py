"""What the server of the page remembers: models that were built, and of each browser window its files and results."""

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmirstd.apis import IRSTDInferencer
from mmirstd.apis.inference import checkpoint_for, own_threshold
from mmirstd.app.results import Result, View, predict_uploads, view, write_files
from mmirstd.app.uploads import Upload, UploadLimits, take_uploads
from mmirstd.utils.configs import DEFAULT_MODEL, describe_configs
from mmirstd.utils.errors import ArgumentError, UserError

# So many models, and so many windows with results, stay in memory.
MAX_MODELS, MAX_WINDOWS = 2, 4


class NothingShownError(UserError, ValueError):
    """Something is asked of results that are not there."""


class ModelChoice(NamedTuple):
    """A model that can be chosen: name or path of its config, and its checkpoint (None: that of the package)."""

    config: str
    checkpoint: str | None = None


class ChoosableModels:
    """The models of the page, built when they are first chosen.

    Args:
        added: Models beside those whose weights come with the package. The first one becomes the default.
        device: Such as ``'cpu'``; by default the GPU where there is one.

    Attributes:
        choices: By the name that is shown, the default first.

    Raises:
        ConfigNotFoundError: If there is no such config.
        CheckpointError: If a checkpoint is missing, or none comes with the package.
        ArgumentError: If a model is added twice.
    """

    def __init__(self, added: Sequence[ModelChoice] = (), device: str | None = None) -> None:
        self._device = device
        self._built: OrderedDict[str, IRSTDInferencer] = OrderedDict()
        self.choices: dict[str, ModelChoice] = {}
        for choice in added:
            checkpoint = checkpoint_for(choice.config, choice.checkpoint, '--model CONFIG CHECKPOINT')
            name = Path(choice.config).stem + ('' if checkpoint is None else f' ({Path(checkpoint).name})')
            if name in self.choices:
                raise ArgumentError(f'--model: two are called {name}')
            self.choices[name] = ModelChoice(choice.config, checkpoint)
        packaged = [described['name'] for described in describe_configs() if described['weights']]
        for name in sorted(packaged, key=lambda name: name != DEFAULT_MODEL):
            self.choices.setdefault(name, ModelChoice(name))

    def get(self, name: str) -> IRSTDInferencer:
        """Return a model, built if it is not there.

        Raises:
            ArgumentError: If it is none of :attr:`choices`.
        """
        if name not in self.choices:
            raise ArgumentError(f'there is no model {name!r} here')
        if name not in self._built:
            choice = self.choices[name]
            self._built[name] = IRSTDInferencer(choice.config, choice.checkpoint, self._device, show_progress=False)
        self._built.move_to_end(name)
        while len(self._built) > MAX_MODELS:
            self._built.popitem(last=False)
        return self._built[name]

    def threshold(self, name: str) -> float:
        """The threshold that a model predicts with: that stored with its weights, or else that of its head."""
        return own_threshold(self.get(name).model)


class Window:
    """A window of a browser: the files that were dropped on it, and what a model predicted for them.

    Args:
        models: To choose from.
        limits: What is taken.
        uploaded: Folder that the server puts uploads in.
    """

    def __init__(self, models: ChoosableModels, limits: UploadLimits, uploaded: Path) -> None:
        self._models, self._limits, self._uploaded = models, limits, uploaded
        self._folder = tempfile.TemporaryDirectory(dir=uploaded.parent, prefix='window_')
        self._uploads: list[Upload] = []
        self._refused: dict[str, str] = {}
        self._model = next(iter(models.choices))
        self.results: list[Result] = []

    def take(self, paths: Sequence[str | Path], model: str) -> dict[str, str]:
        """Take files in place of those that were there, and predict.

        Returns:
            For each file that is not shown, or not whole, its name and the reason.
        """
        self.results, self._uploads, self._refused = [], [], {}
        folder = self._emptied('files')
        self._uploads, self._refused = take_uploads(paths, self._uploaded, folder, self._limits)
        return self.predict(model)

    def predict(self, model: str) -> dict[str, str]:
        """Predict for the files that are there with a model; returns as :meth:`take`."""
        self._model = model
        self.results, problems = predict_uploads(self._models.get(model), self._uploads, self._limits)
        return self._refused | problems

    def view(self, chosen: str, position: int, threshold: float | None = None) -> View:
        """Show a result by its name, see :func:`mmirstd.app.results.view`; by default at the model's own threshold."""
        return view(self.results[self._index(chosen)], position, self._threshold(threshold), self._drawing)

    def files(self, chosen: str, position: int, threshold: float | None = None) -> list[Path]:
        """Write what can be downloaded in place of what was, see :func:`mmirstd.app.results.write_files`."""
        index, threshold = self._index(chosen), self._threshold(threshold)
        folder = self._emptied('downloads')
        return write_files(self.results, index, position, threshold, folder, self._drawing)

    def frames(self, chosen: str) -> int:
        """Number of frames of a result; 0 for an image."""
        frames = self.results[self._index(chosen)].frames
        return 0 if frames is None else len(frames)

    def close(self) -> None:
        """Delete all files."""
        self.results = []
        self._folder.cleanup()

    @property
    def _drawing(self) -> dict[str, int]:
        return self._models.get(self._model).visualizer.drawing

    def _threshold(self, given: float | None) -> float:
        """An empty field stands for the model's own."""
        return self._models.threshold(self._model) if given is None else given

    def _index(self, chosen: str) -> int:
        for index, result in enumerate(self.results):
            if result.name == chosen:
                return index
        raise NothingShownError('there is no such image here any more: drop it again')

    def _emptied(self, name: str) -> Path:
        folder = Path(self._folder.name, name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


class Windows:
    """The windows that are open, by a key of the server; the one that was longest idle makes room for a new one."""

    def __init__(self, models: ChoosableModels, limits: UploadLimits, uploaded: Path) -> None:
        self._made = models, limits, uploaded
        self._open: OrderedDict[str, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __getitem__(self, key: str) -> Window:
        if key not in self._open:
            self._open[key] = Window(*self._made)
        self._open.move_to_end(key)
        while len(self._open) > MAX_WINDOWS:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

    def close(self, key: str | None = None) -> None:
        """Close a window, or all."""
        for name in [*self._open] if key is None else [key]:
            if (window := self._open.pop(name, None)) is not None:
                window.close()

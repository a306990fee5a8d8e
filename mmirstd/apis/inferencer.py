"""MMEngine's inferencer for infrared small targets: folders, files and arrays in, detections and pictures out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmirstd.apis.configuration import CfgOptions, read_config
from mmirstd.apis.inference import image_pipeline, init_model, own_threshold, own_weights
from mmirstd.apis.prediction import Prediction, draw_prediction, report_failure
from mmirstd.apis.tiled import LargeImage, detect_by_tiles, is_large, tiling_of, usual_tile
from mmirstd.apis.tta import use_tta
from mmirstd.datasets.transforms import LoadIRImage
from mmirstd.engine.hooks.visualization_hook import shown_image
from mmirstd.io.inputs import Image, list_images
from mmirstd.ops.components import Connectivity
from mmirstd.ops.detections import Detections, detect_targets
from mmirstd.ops.samples import NonFiniteOutputError, non_finite_weights, probability_map, refuse_non_finite_output
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.progress import progress_bar
from mmirstd.visualization import IRSTDVisualizer


class IRSTDInferencer(BaseInferencer):
    """Finds targets in images, by the same steps as a test does: one reader, one network call, one threshold.

    The four steps of MMEngine's inferencers: :meth:`preprocess` reads images and makes batches, :meth:`forward` runs
    the network and makes :class:`~mmirstd.ops.detections.Detections`, :meth:`visualize` draws, :meth:`postprocess`
    returns. :meth:`stream` does the first two for any number of images in constant memory. Large images go through the
    network by tiles, see :mod:`mmirstd.ops.tiles`.

    Args:
        model: Name of a model, path of a config or a config, as :func:`mmirstd.apis.init_model` takes it; or a model
            from that function.
        weights: Path or address of the checkpoint; by default that of the package, as for ``init_model``.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default the GPU where there is one.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        show_progress: Show a progress bar where stderr is a terminal.
        tta: Test-time augmentation, see :func:`mmirstd.apis.init_model`.
        tile: Longest side of a tile; larger images are cut. None: ``model.test_cfg.tile`` of the config, or else 1,024,
            for images of more than 1.5 x 1.5 tiles. 0: never.
        overlap: Pixels that neighboring tiles share; by default a quarter of a tile.

    Raises:
        ArgumentError: If there is no room for such tiles.
    """

    forward_kwargs: set = {'threshold', 'connectivity', 'min_area', 'keep_probability'}  # noqa: RUF012 - as MMEngine declares them
    visualize_kwargs: set = {'return_vis', 'show', 'wait_time'}  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Config | nn.Module = DEFAULT_MODEL,
        weights: str | Path | None = None,
        device: str | None = None,
        cfg_options: CfgOptions | None = None,
        show_progress: bool = True,
        tta: bool = False,
        tile: int | None = None,
        overlap: int | None = None,
    ) -> None:
        self._given = model if isinstance(model, nn.Module) else None
        if self._given is not None and not hasattr(model, 'cfg'):
            raise TypeError('IRSTDInferencer takes a model from init_model: this one has no config (model.cfg)')
        if self._given is not None and (weights or device or cfg_options or tta):
            raise ValueError(
                'IRSTDInferencer: weights, device, cfg_options and tta are for a model that is yet to be built'
            )
        if self._given is None:
            weights = weights or own_weights(model)
        cfg = model.cfg if self._given is not None else read_config(model, cfg_options)
        usual = usual_tile(cfg)
        tiling = tiling_of(tile, overlap, usual)
        if tta:
            use_tta(cfg)
        super().__init__(cfg, None if weights is None else str(weights), device, 'mmseg', show_progress)
        self._preprocessor = getattr(self.model, 'module', self.model).data_preprocessor
        divisor = getattr(self._preprocessor, 'test_divisor', 1)
        self._is_large = partial(is_large, tile=tile, usual=usual)
        # MMSegmentation's preprocessor does not know the strides of the network: 32 is a multiple of most.
        self._tiling = replace(tiling, align=divisor if divisor > 1 else min(32, max(tiling.size // 8, 1)))

    def __call__(
        self,
        inputs: Image | Sequence[Image],
        return_datasamples: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Find the targets of images.

        Args:
            inputs: A path, folder, glob pattern or array, or a list of them, see :func:`list_images`.
            return_datasamples: Not supported: predictions are :class:`~mmirstd.ops.detections.Detections`.
            batch_size: Number of images, of equal size, that the network sees at once.
            **kwargs: ``threshold``, ``connectivity`` and ``min_area`` of :meth:`forward`; ``return_vis``, ``show`` and
                ``wait_time`` of :meth:`visualize`.

        Returns:
            ``predictions``, a list of detections in the order of the images, and ``visualization``, a list of pictures
            or None.
        """
        if return_datasamples:
            raise ValueError('IRSTDInferencer returns Detections; for data samples use mmseg.apis.inference_model')
        _, forward_kwargs, visualize_kwargs, _ = self._dispatch_kwargs(**kwargs)
        predictions, pictures = [], []
        for prediction in self.stream(inputs, batch_size, **forward_kwargs):
            predictions.append(prediction.detections)
            pictures += self.visualize([prediction.image], [prediction.detections], **visualize_kwargs)
        return self.postprocess(predictions, pictures)

    def stream(
        self,
        inputs: Image | Sequence[Image],
        batch_size: int = 1,
        failures: dict[str, str] | None = None,
        **forward_kwargs: Any,
    ) -> Iterator[Prediction]:
        """Yield a prediction for each image, in order, while the next ones are yet to be read.

        Args:
            inputs: As in :meth:`__call__`.
            batch_size: As in :meth:`__call__`.
            failures: Takes the names of images that cannot be read, or for which the network predicts no numbers, with
                the reason; they are passed over. None: the first one is an error.
            **forward_kwargs: Of :meth:`forward`.
        """
        images = self._inputs_to_list(inputs)
        with progress_bar(total=len(images), unit='image', disable=not self.show_progress) as bar:
            seen = 0
            for batch in self.preprocess(images, batch_size, failures=failures):
                for prediction in self.forward(batch, failures=failures, **forward_kwargs):
                    if prediction is not None:
                        seen += 1
                        yield prediction
                bar.update(seen + len(failures or ()) - bar.n)

    def preprocess(
        self,
        inputs: Iterable[Mapping[str, Any]],
        batch_size: int = 1,
        failures: dict[str, str] | None = None,
    ) -> Iterator[list[dict[str, Any]]]:
        """Read and pack images, a list of `batch_size` at a time; see :meth:`stream` for `failures`."""
        if batch_size < 1:
            raise ValueError(f'batch_size must be at least 1, got {batch_size}')

        def pack() -> Iterator[dict[str, Any]]:
            for image in inputs:
                named = {'name': image['img_id'], 'source': image.get('img', image.get('img_path'))}
                try:
                    # A large one is read when its turn comes.
                    packed = {'inputs': None} if self._is_large(image) else self.pipeline(dict(image))
                    yield packed | named
                except Exception as error:  # of readers, OpenCV or a codec
                    if failures is None:
                        raise
                    report_failure(failures, named, error)

        yield from self._get_chunk_data(pack(), batch_size)

    def forward(
        self,
        inputs: Sequence[Mapping[str, Any]],
        threshold: float | None = None,
        connectivity: Connectivity = 8,
        min_area: int = 1,
        failures: dict[str, str] | None = None,
        keep_probability: bool = True,
    ) -> list[Prediction | None]:
        """Run the network, and find the targets in what it predicts.

        Args:
            inputs: Packed images; those of equal size go through the network together.
            threshold: A pixel is target when its probability is above; by default the model's own.
            connectivity: 4 or 8 neighbors make a target.
            min_area: Targets of fewer pixels are left out.
            failures: See :meth:`stream`; in the place of such an image stands None.
            keep_probability: Whether detections in images that are predicted by tiles hold the probability map.

        Raises:
            NonFiniteOutputError: If the network predicts NaN or infinity, and there are no ``failures``.
        """
        self.model.eval()  # a model that is being trained would predict from the statistics of the batch
        options = {
            'threshold': own_threshold(self.model) if threshold is None else threshold,
            'connectivity': connectivity,
            'min_area': min_area,
        }
        groups: dict[Any, list[int]] = {}
        for i, item in enumerate(inputs):
            groups.setdefault(item['inputs'].shape if isinstance(item['inputs'], Tensor) else i, []).append(i)
        predictions: list[Any] = [None] * len(inputs)
        for indices in groups.values():
            if inputs[indices[0]]['inputs'] is None:
                predictions[indices[0]] = self._by_tiles(inputs[indices[0]], failures, keep_probability, options)
                continue
            for i, sample in zip(indices, self._samples([inputs[i] for i in indices], failures), strict=True):
                if sample is None:
                    continue
                item, name = inputs[i], inputs[i]['name']
                packed = item['inputs'] if isinstance(item['inputs'], Tensor) else None
                image = shown_image(packed, sample.ori_shape, item['source'], self._load)
                found = detect_targets(probability_map(sample, name), image[..., ::-1], name=name, **options)
                predictions[i] = Prediction(found, image)
        return predictions

    def _by_tiles(
        self, item: Mapping[str, Any], failures: dict[str, str] | None, keep_probability: bool, options: dict[str, Any]
    ) -> Prediction | None:
        def predict(packed: Mapping[str, Any]) -> np.ndarray:
            (sample,) = self._samples([packed], None)
            return probability_map(sample, item['name'])

        try:
            large = LargeImage(
                item['source'],
                item['name'],
                self.pipeline,
                self._tiling.size,
                getattr(self._preprocessor, 'min_std', None) is not None,
            )
            found = detect_by_tiles(
                large,
                item['name'],
                predict,
                self._tiling,
                keep_probability=keep_probability,
                show_progress=self.show_progress,
                **options,
            )
        except Exception as error:
            if failures is None:
                raise
            report_failure(failures, item, error, self._reason(error))
            return None
        return Prediction(found, large.image[..., ::-1])

    def _reason(self, error: BaseException) -> str:
        return non_finite_weights(self.model) if isinstance(error, NonFiniteOutputError) else ''

    def _samples(self, items: Sequence[Mapping[str, Any]], failures: dict[str, str] | None) -> list[Any]:
        """What the network predicts for images of equal size; None for one that it fails on, with `failures`."""
        source = items[0]['source'] if isinstance(items[0]['source'], str) else items[0]['name']
        try:
            batch = self.collate_fn([{key: item[key] for key in ('inputs', 'data_samples')} for item in items])
            samples = super().forward(batch)
            for item, sample in zip(items, samples, strict=True):
                source = item['source'] if isinstance(item['source'], str) else item['name']
                refuse_non_finite_output(sample, source)
        except Exception as error:  # of PyTorch, for example of memory, or an assertion of the network
            if failures is None:
                raise
            if len(items) > 1:  # which one is it?
                return [sample for item in items for sample in self._samples([item], failures)]
            report_failure(failures, items[0], error, self._reason(error))
            return [None]
        return samples

    def visualize(
        self,
        inputs: Sequence[np.ndarray],
        preds: Sequence[Detections],
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0.0,
    ) -> list[np.ndarray]:
        """Draw images with the targets found.

        Args:
            inputs: The images, RGB.
            preds: What was found in them.
            return_vis: Return the pictures.
            show: Show each in a window.
            wait_time: Seconds a window stays; 0 waits for a key.

        Returns:
            Pictures (H', W', 3) uint8 RGB; none if neither is asked for.
        """
        pictures = []
        for image, found in zip(inputs, preds, strict=True) if return_vis or show else ():
            picture = draw_prediction(image, found, self.visualizer.drawing)
            if show:
                self.visualizer.show(picture, win_name=found.name, wait_time=wait_time)
            pictures.append(picture)
        return pictures if return_vis else []

    def postprocess(
        self,
        preds: list[Detections],
        visualization: list[np.ndarray],
        return_datasample: bool = False,
    ) -> dict[str, Any]:
        """Return predictions and pictures."""
        return {'predictions': preds, 'visualization': visualization or None}

    def _inputs_to_list(self, inputs: Image | Sequence[Image]) -> list[dict[str, Any]]:
        return list_images(inputs)

    def _init_model(self, cfg: Config, weights: str | None, device: str = 'cpu') -> nn.Module:
        return init_model(cfg, weights, device) if self._given is None else self._given

    def _init_pipeline(self, cfg: Config) -> Compose:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
            pipeline = Compose(image_pipeline(cfg))
        self._load = next((t for t in pipeline.transforms if isinstance(t, LoadIRImage)), LoadIRImage())
        return pipeline

    def _init_collate(self, cfg: Config) -> Any:
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> IRSTDVisualizer:
        own = cfg.get('visualizer') or {}
        drawing = {k: v for k, v in own.items() if k in ('panel_size', 'max_insets')}
        return IRSTDVisualizer(f'inferencer-{id(self)}', **drawing if 'IRSTDVisualizer' in str(own.get('type')) else {})

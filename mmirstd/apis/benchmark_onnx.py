"""Models of a benchmark as onnxruntime runs them, in float and in 8 bits."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmirstd.apis.complexity import network_inputs
from mmirstd.apis.exported import onnx_session
from mmirstd.apis.exported_graph import INPUT, ExportedGraph
from mmirstd.apis.exporting import trace, write_onnx
from mmirstd.apis.inference import own_threshold
from mmirstd.apis.quantizing import quantize_file


class NetworkGraph(nn.Module):
    """From preprocessed images to logits of one size, which is fixed."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, resized to what the network sees."""
        size = tuple(inputs.shape[2:])
        return self.model.encode_decode(inputs, [{'img_shape': size, 'pad_shape': size, 'ori_shape': size}])


def onnx_run(
    model: nn.Module, images: list[Tensor], *, int8: bool, end_to_end: bool, threads: int
) -> Callable[[], Tensor]:
    """Export a model for one size, and return what runs it.

    Args:
        model: In evaluation mode, folded.
        images: uint8 (C, H, W), of one size.
        int8: Quantize the convolutions, with these very images: the speed does not depend on them.
        end_to_end: From these images to their masks, instead of from preprocessed ones to logits.
        threads: Of onnxruntime.

    Raises:
        ExportError: If the model cannot be exported, or a package is missing.
    """
    if end_to_end:
        graph, example = ExportedGraph(model, len(images[0])), torch.stack(images)
        example = example.flip(1) if len(images[0]) == 3 else example  # an exported graph takes RGB
    else:
        graph, example = NetworkGraph(model), network_inputs(model, images)[0]
    content = np.ascontiguousarray(example.numpy())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'model.onnx')
        write_onnx(trace(graph.eval(), example, None), path, {})
        if int8:
            quantize_file(path, path.with_name('int8.onnx'), [content])
            path = path.with_name('int8.onnx')
        session = onnx_session(path, threads)
    threshold = own_threshold(model)

    def run() -> Tensor:
        (output,) = session.run(None, {INPUT: content})
        return torch.from_numpy((output > threshold).astype(np.uint8) if end_to_end else output)

    return run

"""One image through several models."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmirstd.apis.configuration import read_config
from mmirstd.apis.inference import init_model
from mmirstd.apis.planned_run import PACKAGED, ReproductionRun
from mmirstd.apis.predicting import predict
from mmirstd.apis.reproduction_plan import plan_runs
from mmirstd.apis.reproduction_run import converted
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.progress import progress_bar

# Any of the sets: what is predicted does not depend on it.
_DATASET = 'nudt'


def predict_by_models(
    image: np.ndarray | str | Path,
    *,
    models: Sequence[str] = (),
    weights: Sequence[str | Path] = (PACKAGED,),
    detectors: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Predict one image by several models.

    Args:
        image: What :func:`mmirstd.apis.predict` takes.
        models: Only these, see :func:`mmirstd.apis.reproduce`; none means all of the weights.
        weights: ``'packaged'``, and folders of files that others published.
        detectors: Classical detectors, which have no weights.

    Returns:
        (H, W) probabilities by the name of the weights or the detector.

    Raises:
        ArgumentError: If there is no such model.
    """
    runs: dict[str, ReproductionRun] = {}
    for source in weights:
        for run in plan_runs(models, [_DATASET], weights=source):
            runs[run.weights_name] = run
    for run in plan_runs(detectors, [_DATASET]) if detectors else ():
        runs[run.model] = run
    if not runs:
        raise ArgumentError('there is no model to compare')
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, run in progress_bar(list(runs.items()), 'models'):
            model = init_model(read_config(run.config, run.options), converted(run, Path(folder)), 'cpu')
            found[name] = predict(model, image).probability
    return found

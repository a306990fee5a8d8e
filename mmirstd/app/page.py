"""The layout of the page and its server, by Gradio: no address but this machine's is asked for anything."""

import html
import os
import sys
import tempfile
import threading
import traceback
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmirstd.app.session import ChoosableModels, ModelChoice, Windows
from mmirstd.app.uploads import UploadLimits
from mmirstd.io.images import IMAGE_EXTENSIONS
from mmirstd.io.video import VIDEO_EXTENSIONS
from mmirstd.ops.detections import COLUMNS
from mmirstd.utils.errors import ArgumentError, MissingExtraError, describe
from mmirstd.utils.text import format_threshold

if TYPE_CHECKING:
    import gradio

HOST = '127.0.0.1'
LEAST_GRADIO = 6
# The browser is told to ask no other host for anything, and to show the page in no other page.
_POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; form-action 'self'"
)
# Of Gradio: whatever they say, the page stays on this machine and reports to nobody.
_SETTINGS = {'GRADIO_ANALYTICS_ENABLED': 'False', 'HF_HUB_OFFLINE': '1', 'GRADIO_RUN_HISTORY': 'False'}


def serve(
    models: Sequence[ModelChoice | tuple[str, str]] = (),
    *,
    port: int | None = None,
    device: str | None = None,
    limits: UploadLimits | None = None,
    browser: bool = True,
) -> None:
    """Show the page until Ctrl-C; the uploaded files are deleted then.

    Args:
        models: Config and checkpoint of models beside those whose weights come with the package.
        port: By default the first free one from 7860.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default the GPU where there is one.
        limits: What may be uploaded.
        browser: Whether to open the page.

    Raises:
        MissingExtraError: If Gradio is missing or too old.
        CheckpointError: If a checkpoint is missing or does not fit.
        ArgumentError: If the port is taken, or a model or device is not there.
    """
    with opened(models, port=port, device=device, limits=limits) as address:
        print(f'the page is at {address}; Ctrl-C ends it', flush=True)
        if browser:
            webbrowser.open(address)
        threading.Event().wait()


@contextmanager
def opened(
    models: Sequence[ModelChoice | tuple[str, str]] = (),
    *,
    port: int | None = None,
    device: str | None = None,
    limits: UploadLimits | None = None,
) -> Iterator[str]:
    """Serve the page during the block, which gets its address; arguments as for :func:`serve`."""
    check_gradio()
    limits = limits or UploadLimits()
    choices = ChoosableModels([ModelChoice(*model) for model in models], device)
    first = next(iter(choices.choices))
    choices.get(first)  # what is wrong with it is said now
    with tempfile.TemporaryDirectory(prefix='mmirstd_app_') as folder, _environment(folder) as uploaded:
        import gradio
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware

        windows = Windows(choices, limits, uploaded)
        page = build(choices, windows, limits)
        guards = [Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, 'localhost']), Middleware(_LocalOnly)]
        try:
            _, address, _ = page.queue(default_concurrency_limit=1).launch(
                server_name=HOST,
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                inbrowser=False,
                show_error=True,
                footer_links=[],
                allowed_paths=[],
                blocked_paths=[],
                max_file_size=limits.file_bytes,
                enable_monitoring=False,
                run_history=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                app_kwargs={'middleware': guards, 'docs_url': None, 'redoc_url': None},
                theme=gradio.themes.Default(font=['sans-serif'], font_mono=['monospace']),
            )
        except OSError:
            where = 'any port from 7860' if port is None else f'--port {port}'
            raise ArgumentError(f'{where}: another program listens there') from None
        try:
            yield address
        finally:
            page.close(verbose=False)
            windows.close()


def check_gradio() -> None:
    """See that Gradio is there, and new enough.

    Raises:
        MissingExtraError: If not.
    """
    try:
        found = version('gradio')
    except PackageNotFoundError:
        raise MissingExtraError('`mmirstd app` needs', 'app', ImportError('there is no gradio')) from None
    if int(found.partition('.')[0]) < LEAST_GRADIO:
        cause = ImportError(
            f'gradio {found} is installed, {LEAST_GRADIO} or newer is needed; it goes with pillow < 13, so give it an '
            'environment of its own, as `make app` does'
        )
        raise MissingExtraError('`mmirstd app` needs', 'app', cause)


def build(choices: ChoosableModels, windows: Windows, limits: UploadLimits) -> 'gradio.Blocks':
    """Lay out the page, and connect it to :mod:`mmirstd.app.session`."""
    import gradio as gr

    def shown(window: Any, chosen: str | None, position: int, threshold: float | None) -> list[Any]:
        """Picture, summary, table, and no files: these are of what was shown before."""
        if chosen is None:
            return [None, '', None, gr.update(value=None, visible=False)]
        view = window.view(chosen, position, threshold)
        return [view.picture, view.summary, view.rows, gr.update(value=None, visible=False)]

    def chosen_of(window: Any, threshold: float | None, problems: dict[str, str]) -> list[Any]:
        names = [result.name for result in window.results]
        text = '\n'.join(f'{name}: {reason}' for name, reason in problems.items())
        first = names[0] if names else None
        return [
            gr.update(value=text, visible=bool(text)),
            gr.update(choices=names, value=first, visible=len(names) > 1),
            frames_of(window, first),
            gr.update(interactive=bool(names)),
            *shown(window, first, 0, threshold),
        ]

    def frames_of(window: Any, chosen: str | None) -> Any:
        frames = window.frames(chosen) if chosen else 0
        return gr.update(value=0, maximum=max(frames - 1, 1), visible=frames > 1)

    def take(request: gr.Request, paths: list[str] | None, model: str, threshold: float | None) -> list[Any]:
        window = windows[request.session_hash]
        return [None, *chosen_of(window, threshold, window.take(paths or [], model))]

    def choose_model(request: gr.Request, model: str) -> list[Any]:
        window, threshold = windows[request.session_hash], choices.threshold(model)
        return [gr.update(**threshold_field(choices, model)), *chosen_of(window, threshold, window.predict(model))]

    def choose_result(request: gr.Request, chosen: str | None, threshold: float | None) -> list[Any]:
        window = windows[request.session_hash]
        return [frames_of(window, chosen), *shown(window, chosen, 0, threshold)]

    def look(request: gr.Request, chosen: str | None, position: int, threshold: float | None) -> list[Any]:
        return shown(windows[request.session_hash], chosen, position, threshold)

    def make_files(request: gr.Request, chosen: str | None, position: int, threshold: float | None) -> Any:
        files = windows[request.session_hash].files(chosen or '', position, threshold)
        return gr.update(value=[str(path) for path in files], visible=True)

    def close(request: gr.Request) -> None:
        with one_at_a_time:
            windows.close(request.session_hash)

    one_at_a_time = threading.Lock()

    def in_words(function: Callable[..., Any]) -> Callable[..., Any]:
        """Do one thing at a time, and show an error on the page as the command line shows it."""

        def run(request: gr.Request, *values: Any) -> Any:
            with one_at_a_time:
                try:
                    return function(request, *values)
                except Exception as error:
                    if not isinstance(error, (ValueError, OSError)):
                        traceback.print_exc(file=sys.stderr)
                    raise gr.Error(
                        html.escape(describe(error), quote=False), duration=None, print_exception=False
                    ) from None

        run.__annotations__ = {'request': gr.Request}
        return run

    default = next(iter(choices.choices))
    with gr.Blocks(title='mmirstd', analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as page:
        gr.Markdown('## Infrared small targets')
        with gr.Row():
            with gr.Column(scale=1, min_width=330):
                kinds = [*IMAGE_EXTENSIONS, *VIDEO_EXTENSIONS]
                files = gr.File(
                    label=f'Images or videos, up to {limits.file_bytes / 1e6:.0f} MB each',
                    file_count='multiple',
                    file_types=kinds,
                    elem_id='files',
                    height=170,
                )
                folder = gr.UploadButton('Choose a folder', file_count='directory', elem_id='folder')
                model = gr.Dropdown([*choices.choices], value=default, label='Model', elem_id='model')
                # no slider: its steps would change a threshold such as 0.9999998
                threshold = gr.Number(
                    label='Threshold', minimum=0, maximum=1, step=0.01, elem_id='threshold',
                    **threshold_field(choices, default),
                )  # fmt: skip
                problems = gr.Textbox(label='Not shown', visible=False, elem_id='problems', interactive=False)
                make = gr.Button('Make files to download', interactive=False, elem_id='make')
            with gr.Column(scale=4):
                chosen = gr.Dropdown([], label='Image', visible=False, elem_id='chosen')
                position = gr.Slider(0, 1, value=0, step=1, label='Frame', visible=False, elem_id='frame')
                picture = gr.Image(
                    show_label=False, format='png', interactive=False, elem_id='picture',
                    buttons=['fullscreen'],
                )  # fmt: skip
                summary = gr.Textbox(show_label=False, container=False, interactive=False, elem_id='summary')
                table = gr.Dataframe(
                    headers=[*COLUMNS[1:]], label='Targets, in pixels', interactive=False, elem_id='table', wrap=False
                )
                made = gr.File(
                    label='Downloads', visible=False, file_count='multiple', interactive=False, elem_id='downloads'
                )
        view = [picture, summary, table, made]
        selection = [problems, chosen, position, make, *view]
        for source in (files, folder):
            source.upload(in_words(take), [source, model, threshold], [source, *selection], api_visibility='private')
        model.input(in_words(choose_model), [model], [threshold, *selection], api_visibility='private')
        chosen.input(in_words(choose_result), [chosen, threshold], [position, *view], api_visibility='private')
        for control in (position, threshold):
            control.input(
                in_words(look), [chosen, position, threshold], view,
                trigger_mode='always_last', show_progress='hidden', api_visibility='private',
            )  # fmt: skip
        make.click(in_words(make_files), [chosen, position, threshold], made, api_visibility='private')
        page.unload(close)
    return page


def threshold_field(choices: ChoosableModels, model: str) -> dict[str, Any]:
    """The field's value when a model is chosen, the model's own threshold with all digits, and the text above it."""
    own = choices.threshold(model)
    shown = format_threshold(own)
    return {'value': own, 'info': f"A pixel is target when its probability is above. The model's own: {shown}"}


class _LocalOnly:
    """Answers no form that another site's page sends, and tells the browser to ask no other host for anything."""

    def __init__(self, app: Callable) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        """Answer a request."""
        headers = dict(scope.get('headers', ()))
        origin = headers.get(b'origin', b'').partition(b'://')[2]
        if origin and origin != headers.get(b'host'):
            await send({'type': 'http.response.start', 'status': 403, 'headers': []})
            await send({'type': 'http.response.body', 'body': b'from another site'})
            return

        async def with_policy(message: dict[str, Any]) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message.get('headers', ()), (b'content-security-policy', _POLICY)]
            await send(message)

        await self.app(scope, receive, with_policy)


@contextmanager
def _environment(folder: str) -> Iterator[Path]:
    """Gradio's settings, and the folder that it puts uploads in, as it reads them: from the environment."""
    uploaded = Path(os.path.realpath(folder), 'uploaded')
    uploaded.mkdir()
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith('GRADIO_')]:
        del os.environ[name]
    os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=str(uploaded))
    try:
        yield uploaded
    finally:
        os.environ.clear()
        os.environ.update(before)

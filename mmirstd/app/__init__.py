"""The page in the browser: uploaded files in, detections out, on this machine alone.

What is done with files stands in :mod:`mmirstd.app.uploads`, :mod:`mmirstd.app.results` and
:mod:`mmirstd.app.session`, which know nothing of Gradio; :mod:`mmirstd.app.page` is the layout.
"""

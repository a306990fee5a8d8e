"""Write synthetic scenes: ``mmirstd synthesize`` as a script."""

import sys

try:
    from mmirstd.cli import main
except ImportError as e:
    advice = ': run `make` in the checkout and use its .venv/bin/python' if e.name == 'mmirstd' else ''
    raise SystemExit(f'error: {e}{advice}') from None

if __name__ == '__main__':
    raise SystemExit(main(['synthesize', *sys.argv[1:]]))

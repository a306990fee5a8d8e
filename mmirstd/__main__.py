"""``python -m mmirstd COMMAND``, e.g. below torchrun."""

from mmirstd.cli import main

if __name__ == '__main__':
    raise SystemExit(main())

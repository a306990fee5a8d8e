"""torchrun, with the usual exit status after a signal: ``python -m mmirstd.utils.launch`` takes torchrun's arguments.

torchrun itself ends with a traceback and status 1 whatever the signal was, and with a summary of failures where one of
its processes was interrupted.
"""

import logging
import signal
import sys
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from mmirstd.utils.interrupts import STATUSES

# Exit codes of processes that torchrun ends after another has ended.
BY_LAUNCHER = (-signal.SIGTERM, -signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> None:
    """Start the processes and wait for them.

    Raises:
        SystemExit: With 130 or 143, if a signal came to this process or to one of those it started.
        ChildFailedError: If one of them failed.
    """
    # A line for each process that is sent a signal or has failed; those that failed are in the summary.
    for name in ('agent.server.api', 'multiprocessing.api'):
        logging.getLogger(f'torch.distributed.elastic.{name}').setLevel(logging.CRITICAL)
    try:
        run(parse_args(argv))
    except SignalException as e:
        raise SystemExit(128 + e.sigval) from None
    except ChildFailedError as e:
        _, first = e.get_first_failure()
        others = {failure.exitcode for failure in e.failures.values()} - {*STATUSES, *BY_LAUNCHER}
        if first.exitcode not in STATUSES or others:
            raise
        if str(first.message).startswith('[rank'):  # it alone was interrupted, so the first process says nothing
            print(first.message, file=sys.stderr)
        raise SystemExit(first.exitcode) from None


if __name__ == '__main__':
    main()

"""Ways for one process of a job to die, as a hook."""

import os
import signal
import time

from mmengine.hooks import Hook

from mmirstd.registry import HOOKS


@HOOKS.register_module()
class FaultHook(Hook):
    """Calls ``how`` on process ``rank`` before iteration 3."""

    def __init__(self, how, rank=1):
        self.how, self.rank = how, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2 and runner.rank == self.rank:
            getattr(self, self.how)()

    def exception(self):
        raise LookupError('the sun has set')

    def memory(self):
        bytearray(1 << 62)

    def sigkill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def exit(self):
        os._exit(3)

    def hang(self):
        time.sleep(1000)

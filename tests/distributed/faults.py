"""Ways for one process of a job to die, as a hook."""

import os
import signal
import time

from mmengine.hooks import Hook

from mmirstd.registry import HOOKS
from mmirstd.utils.interrupts import ECHO


@HOOKS.register_module()
class FaultHook(Hook):
    """Calls ``how`` on process ``rank`` before iteration 3, or before the second sample of a validation."""

    def __init__(self, how, rank=1, where='train', number=15):
        self.how, self.rank, self.where, self.number = how, rank, where, number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2 and runner.rank == self.rank and self.where == 'train':
            getattr(self, self.how)()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 1 and runner.rank == self.rank and self.where == 'val':
            getattr(self, self.how)()

    def signal_launcher(self):
        os.kill(os.getppid(), self.number)
        time.sleep(0.5)

    def signal_self(self):
        os.kill(os.getpid(), self.number)

    def signal_self_twice(self):
        self.signal_self()
        time.sleep(ECHO + 0.1)
        self.signal_self()

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

import os
import signal
import sys
import textwrap
from subprocess import PIPE, Popen

import pytest

from mmirstd.utils import locks
from mmirstd.utils.locks import FolderInUseError, folder_lock, output_lock

HOLD = textwrap.dedent("""
    import sys, time
    from mmirstd.utils.locks import folder_lock, output_lock
    with {lock}(sys.argv[1]):
        print('held', flush=True)
        time.sleep(60)
""")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(locks, 'PATIENCE', 0.1)


@pytest.mark.parametrize('lock', [folder_lock, output_lock])
def test_a_folder_is_for_one_process(lock, tmp_path):
    folder = tmp_path / 'a/run'
    with Popen([sys.executable, '-c', HOLD.format(lock=lock.__name__), folder], stdout=PIPE, text=True) as holder:
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(FolderInUseError, match=rf'^{folder} is in use by another process'), lock(folder):
            pytest.fail('two have it')
        with lock(tmp_path / 'other'):
            pass
        holder.send_signal(signal.SIGKILL)
    with lock(folder):  # the lock went with the process
        pass


def test_nothing_stays_of_the_lock_of_an_output(tmp_path):
    with output_lock(tmp_path / 'a/b/out'):
        assert not (tmp_path / 'a/b/out').exists()
    assert not os.listdir(tmp_path)
    with output_lock(tmp_path / 'a/b/out'):
        (tmp_path / 'a/b/out').mkdir()
    assert os.listdir(tmp_path / 'a/b') == ['out']


def test_several_folders_and_the_same_twice(tmp_path):
    with folder_lock(tmp_path / 'a', tmp_path / 'b', tmp_path / 'a'):
        for name in 'ab':
            with pytest.raises(FolderInUseError), folder_lock(tmp_path / name):
                pytest.fail('two have it')
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path / 'a'):
        raise ZeroDivisionError
    with folder_lock(tmp_path / 'a'):
        pass


FORK = textwrap.dedent("""
    import os, sys, time
    from mmirstd.utils.locks import folder_lock
    with folder_lock(sys.argv[1]):
        worker = os.fork()
        if worker:
            print(worker, flush=True)
        time.sleep(60)
""")


@pytest.mark.skipif(sys.platform == 'win32', reason='no fork')
def test_a_worker_that_outlives_its_process_does_not_hold_the_lock(tmp_path):
    """As a loader's workers do for some seconds after a kill."""
    with Popen([sys.executable, '-c', FORK, tmp_path], stdout=PIPE, text=True) as holder:
        worker = int(holder.stdout.readline())
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.kill(worker, 0)
        with folder_lock(tmp_path):
            pass
        os.kill(worker, signal.SIGKILL)

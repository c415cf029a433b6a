"""What a process says of itself."""

import os
import time

from prometheus_client import CollectorRegistry

from policyd.observe.own_process import OwnProcess


def test_a_process_that_sees_nothing_of_proc_but_processes_measures_itself_all_the_same(tmp_path):
    (tmp_path / "self").symlink_to(f"/proc/{os.getpid()}")
    registry = CollectorRegistry()
    OwnProcess(proc=str(tmp_path), registry=registry)
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"):
        assert registry.get_sample_value(f"process_{name}"), name
    started = registry.get_sample_value("process_start_time_seconds")
    assert started is not None
    assert started < time.time() < started + 86_400

"""What the process uses of the machine, as Prometheus' clients call it: CPU, memory, open files."""

import time

from prometheus_client import ProcessCollector


class OwnProcess(ProcessCollector):
    """
    The library's collector, for a process that sees nothing of /proc but processes.

    The unit hides the rest (`ProcSubset=pid`), and the library, which looks into /proc/stat for the time of boot, gives
    nothing at all then.
    """

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

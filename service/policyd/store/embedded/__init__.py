"""
The real PostgreSQL, from the binaries of a wheel, run as a child for as long as policyd runs.

No TCP; a socket in a directory that only its owner enters; peer authentication, so that nobody but the user who
started it gets in. Only the wheel's binaries are used: its Python part changes modes of other people's directories and
may stop the wrong process.
"""

from policyd.store.embedded.layout import Layout
from policyd.store.embedded.server import DATABASE, SUPERUSER, Server, running, running_dsn

__all__ = ["DATABASE", "SUPERUSER", "Layout", "Server", "running", "running_dsn"]

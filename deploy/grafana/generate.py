"""make dashboards: writes dashboards/*.json anew from the pages."""

from pathlib import Path

from drawing import write
from pages.backends import BACKENDS
from pages.keys_and_logins import KEYS_AND_LOGINS
from pages.live import LIVE
from pages.nodes import NODES
from pages.service import SERVICE

PAGES = [SERVICE, LIVE, NODES, BACKENDS, KEYS_AND_LOGINS]

if __name__ == "__main__":
    write(PAGES, Path(__file__).parent / "dashboards")

"""make docs: the reference pages and the manual page, from the code, the schema and the catalogue of options."""

from collections.abc import Mapping
from pathlib import Path

from generating.checks import checks_page
from generating.commands import commands_page, manual_page
from generating.configuration import configuration_page
from generating.lookups import lookups_page
from generating.metrics import metrics_page
from generating.sizing import sizing_page
from generating.tables import options_page, tables_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def generated() -> Mapping[Path, str]:
    """Every page that is not written by hand, as it has to be."""
    return {
        DOCS / "reference/checks.md": checks_page(),
        DOCS / "reference/commands.md": commands_page(),
        DOCS / "reference/configuration.md": configuration_page(),
        DOCS / "reference/lookups.md": lookups_page(),
        DOCS / "reference/metrics.md": metrics_page(),
        DOCS / "reference/tables.md": tables_page((ROOT / "sql/schema.sql").read_text()),
        DOCS / "reference/options.md": options_page(ROOT / "sql/options.toml"),
        DOCS / "sizing.md": sizing_page(DOCS / "sizing.json"),
        DOCS / "man/policyd.1": manual_page(),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")

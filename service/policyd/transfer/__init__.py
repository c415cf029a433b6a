"""KumoMTA's own policy files as rows: pure, given text, never opening a file or a connection."""

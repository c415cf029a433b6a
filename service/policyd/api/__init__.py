"""HTTP: one route table, two listeners, tokens, and problems with the right status."""

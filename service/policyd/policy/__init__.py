"""
Pure policy: the one rule, tags, positions, and one module per kind with its `resolve`.

Nothing here awaits, reads a clock or knows a driver; time is an argument.
"""

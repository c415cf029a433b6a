"""What makes policyd live: the answer cache, the changes it knows of, the change feed, and batched fetches."""

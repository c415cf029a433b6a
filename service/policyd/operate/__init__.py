"""What operators do: imports, explanations and the like, given a connection."""

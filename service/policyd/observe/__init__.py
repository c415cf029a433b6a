"""What happened, as typed Observations; one sink makes metrics of them, one makes logs."""

"""Studies on this machine: cells run in turn, and the report on them."""

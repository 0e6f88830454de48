"""How the work of one training step is dealt out over processes, beyond plain data parallelism."""

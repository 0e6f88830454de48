"""How results reach the disk: one writer that goes on where it was stopped, and the files that it makes of them."""

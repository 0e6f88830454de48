"""One file for each kind of captioner."""

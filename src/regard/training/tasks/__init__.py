"""What a network can learn: one file for each task."""

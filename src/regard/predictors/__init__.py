"""What is loaded once and then called with any number of pictures in memory: no disk, no console."""

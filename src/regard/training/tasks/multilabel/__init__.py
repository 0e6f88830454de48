"""Any number of labels a picture: its head on frozen features, what it learns, and the task."""

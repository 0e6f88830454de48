"""How pictures, labels and captions lie on a disk: one file for each layout."""

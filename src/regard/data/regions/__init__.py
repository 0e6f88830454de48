"""Where the things in a picture are."""

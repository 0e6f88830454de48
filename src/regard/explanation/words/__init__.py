"""Methods that say what each word of a caption looks at."""

ROWS = ("predicting", "reading")
"""Which step's map a word gets: the one that predicts it, or the one that reads it."""

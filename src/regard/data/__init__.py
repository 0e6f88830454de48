""""""

MAX_PIXELS = 89_478_485
"""The largest picture that is decoded, width × height: a quarter of a gigabyte, where Pillow would begin to warn."""

"""The user's pictures: which there are and what they are called, in whatever layout, and how each becomes pixels.

`layouts` reads folders, tables and captions, `images` decodes and prepares, `regions` reads masks, `splits` divides.
"""

MAX_PIXELS = 89_478_485
"""The largest picture that is decoded, width × height: a quarter of a gigabyte, where Pillow would begin to warn."""

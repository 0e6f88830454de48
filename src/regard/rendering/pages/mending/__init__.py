"""Mending as people are shown it: the story of a network that was mended, in four panels."""

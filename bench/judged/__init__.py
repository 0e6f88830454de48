"""Words of drawn scenes whose truth is known, as bench/word_checks.py judges and tables them.

scenes.py     scenes by condition: plain, occluded, cropped, held-out
collect.py    what a captioner says of each, and true captions with a word exchanged, as `JudgedWord`s, in chunks
tables.py     how well checks and fits tell the wrong words from the right ones, in Markdown
"""

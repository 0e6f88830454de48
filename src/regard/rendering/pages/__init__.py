"""HTML pages of records: one file each, which opens anywhere and fetches nothing.

shell.py       the page that every content sits in       report.py   the page of a run or an evaluation
views.py       what it shows of each record              training.py   and of a training
audit.py       the page of an audit                removal.py   its curves, audit_words.py   its words
anonymiser.py  pages without names and paths
"""

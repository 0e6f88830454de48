"""An audit of a captioner: do its words look where it is claimed that they do?

settings.py   what is measured          claims.py     which words are claimed to look where
measure.py    caption by caption        gathered.py   all captions together, as arrays by word
rules.py      from numbers to verdicts  summary.py    verdicts and findings      sentences.py   the most important
audit.py      resumable, written as a folder
"""

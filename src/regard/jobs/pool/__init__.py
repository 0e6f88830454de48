"""Jobs with pictures, done by worker processes that have their networks loaded and may die; nothing here speaks HTTP.

pool ⇄ wire ⇄ worker → desk → predictors
the queue  frames   a process    what is done with a picture
"""

"""`regard.toml`: defaults of commands' options, in sections by command and one that all share.

`file` reads it and knows the line of everything; `defaults` fits what it says to the options that commands declare.
"""

"""Where objects lie: folders of a disk, and by obstore (extra `stores`) S3, Google Cloud, Azure, HTTP and memory.

A key is a POSIX path below the store's address. Reading says `DataError`, writing `OutputError`, in one line that names
what to do; what a variable with a secret holds is never in it.
"""

from regard.data.stores.base import Entry, Store, is_address, split_address

__all__ = ["Entry", "Store", "is_address", "split_address"]

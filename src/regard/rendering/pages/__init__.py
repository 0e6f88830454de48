"""HTML pages of records: one file each, which opens anywhere and fetches nothing."""

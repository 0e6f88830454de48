"""Work that others schedule: `pool` answers the server's requests, `bulk` does millions of pictures in units."""

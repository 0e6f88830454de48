"""`regard serve`: predictors over HTTP. This process speaks HTTP and holds no network: the workers of `jobs` do.

protocol → security → api → jobs
deadlines  host, origin, token, headers
"""

"""`--to web`: a page with the network itself inside, which answers for pictures that are dropped into it.

runtime.py   onnxruntime-web, fetched once or given     weights.py   the graph as it is stored in a page
page.py      what the page shows, and how it is written
"""

"""`regard.Inspector`: all that the viewer shows of a picture by one network.

inspector.py   Inspector, which goes through the stages
reading.py     one forward: attention of all layers, strongest keys, the logit lens, artifact tokens
maps.py        maps of methods for several classes, with their removal curves and verdicts
"""

from regard.predictors.inspector.inspector import Inspector

__all__ = ["Inspector"]

"""`regard.Inspector`: all that the viewer shows of a picture by one network.

inspector.py   Inspector, which goes through the stages
reading.py     one forward: attention of all layers, strongest keys, the logit lens, artifact tokens
maps.py        maps of methods for several classes, with their removal curves and verdicts
captions.py    the same of a caption, word by word         jpeg.py    the picture as it is drawn
batch.py       many pictures by several networks
"""

from regard.predictors.inspector.captions import caption_inspection
from regard.predictors.inspector.inspector import Inspector
from regard.predictors.inspector.jpeg import LONGEST, jpeg_of

__all__ = ["LONGEST", "Inspector", "caption_inspection", "jpeg_of"]

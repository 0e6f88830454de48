"""From a name, a file, a run or a module to a network whose parts, attention and input are known.

`sources` loads, `anatomy` says where parts lie, `attention` reads what passes by, `captioners` write.
`load` is the door.
"""

"""Figures of records, as pictures or as files for papers.

canvas.py           what all share: ink, margins, pictures and maps of a size, colour bars, PNG bytes
panel.py            picture, map and overlay side by side     vector.py   the same as SVG and PDF
sheets.py           many maps on one sheet, comparisons       caption_panels.py   the map of each word
position_grids.py   grids of grids, kernels over offsets      charts.py   confusion, calibration, classes, curves
"""

"""Figures and pages of records; nothing here needs torch.

colour.py     values to colours, maps laid over pictures      lettering.py   text in pictures
figures/      panels, sheets, grids of positions, charts: as pictures, or as files for papers
curves.py     the lines of a training as numbers to draw
pages/        HTML pages, one self-contained file each         viewer/        their templates, style and script
displays.py   what a notebook shows of a record
"""

"""Figures of records, as pictures or as files for papers: panels, sheets, charts."""

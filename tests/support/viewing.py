"""Helpers for tests of the picture view: pages of inspections, and what a canvas shows."""

from contextlib import contextmanager

import numpy as np
from browser import open_page

from regard.rendering.pages.inspections import InspectedPage, inspection_page


def written(path, *inspections):
    """A page of one picture, by one or more networks; its path."""
    page = inspection_page(InspectedPage("A picture", {inspections[0].name: inspections}))
    path.write_text(page, encoding="utf-8", newline="\n")
    return path


@contextmanager
def looking(browser, path, state="", **settings):
    """The page with a state in its address, once the picture is there."""
    with open_page(browser, path, state=state, **settings) as page:
        page.locator(".look:not(.unpacking) .look-canvas[aria-label]").first.wait_for()
        yield page


def settle(page):
    """Wait until all that was asked for is painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def pixels_at(page, grid, points, pane=0):
    """(n, 3) uint8: the colours of a pane's canvas at points of its picture, (n, 2) shares across and down, as long as
    the whole picture is shown."""
    settle(page)
    colours = page.evaluate(
        """([points, pane, [high, wide]]) => {
          const canvas = document.querySelectorAll(".look-canvas")[pane];
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const { data, width, height } = copy.getImageData(0, 0, canvas.width, canvas.height);
          const scale = Math.min(width / wide, height / high);
          const [left, top] = [(width - wide * scale) / 2, (height - high * scale) / 2];
          return points.map(([x, y]) => {
            const place = Math.floor(top + y * high * scale) * width + Math.floor(left + x * wide * scale);
            return [...data.slice(4 * place, 4 * place + 3)];
          });
        }""",
        [np.asarray(points).tolist(), pane, list(grid.picture)],
    )
    return np.array(colours, np.uint8)


def middles(grid):
    """(patches, 2): the middle of each patch, in shares of the picture."""
    height, width = grid.picture
    cells = [grid.cell(row, column) for row in range(grid.rows) for column in range(grid.columns)]
    return np.array([((left + right) / 2 / width, (top + bottom) / 2 / height) for left, top, right, bottom in cells])

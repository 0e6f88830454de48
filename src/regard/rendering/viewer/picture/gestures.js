// Pointer, wheel and keys on the stage: move over patches, keep one, pan and zoom, drag the divider.

const MOST_ZOOM = 12;
const CLICK_SLACK = 6; // pixels that a finger or mouse may move in a click
const SCROLL_REST = 250; // ms after which a wheel that scrolled the page may zoom

function listenToStage(view, stage) {
  const pointers = new Map(); // pointerId -> [x, y], of those that are down
  let gesture = null; // { pane, moved, zoom, distance }
  const point = (event) => [event.offsetX, event.offsetY];
  const paneOfEvent = (event) => Number(event.target.dataset?.pane ?? 0);

  function shares(pane, [x, y]) {
    const { left, top, scale } = stage.placement(pane);
    const [high, wide] = view.panes[pane].inspection.grid.picture;
    return [(x - left) / scale / wide, (y - top) / scale / high];
  }

  function hoverAt(pane, where) {
    const here = shares(pane, where);
    const { map } = view.panes[pane];
    const patch = patchAt(map, ...here);
    const before = view.hover ? patchAt(map, ...view.hover) : null;
    view.hoverPane = pane;
    if (patch === before) return;
    view.hover = patch === null ? null : patchMiddle(map, patch);
    view.hovered();
  }

  function down(event) {
    if (event.target.tagName !== "CANVAS" || event.button > 0) return;
    event.target.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, point(event));
    const [a, b] = [...pointers.values()];
    const distance = b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
    const middle = b ? [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] : a;
    gesture = { pane: paneOfEvent(event), start: middle, moved: Boolean(b), zoom: view.state.zoom, distance };
    gesture.shares = shares(gesture.pane, middle);
  }

  function move(event) {
    if (event.target.tagName !== "CANVAS") return;
    const where = point(event);
    if (!pointers.has(event.pointerId)) return hoverAt(paneOfEvent(event), where);
    pointers.set(event.pointerId, where);
    const [a, b] = [...pointers.values()];
    const middle = b ? [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2] : a;
    if (Math.hypot(middle[0] - gesture.start[0], middle[1] - gesture.start[1]) > CLICK_SLACK) gesture.moved = true;
    if (b) {
      const zoom = (gesture.zoom * Math.hypot(a[0] - b[0], a[1] - b[1])) / gesture.distance;
      zoomTo(gesture.pane, zoom, middle, gesture.shares);
    } else if (view.state.zoom > 1) {
      if (gesture.moved) zoomTo(gesture.pane, view.state.zoom, middle, gesture.shares);
    } else hoverAt(gesture.pane, where);
  }

  function up(event) {
    if (!pointers.delete(event.pointerId)) return;
    if (event.type === "pointerup" && !gesture.moved && !pointers.size) pin(gesture.pane, gesture.shares);
    if (event.pointerType !== "mouse" && !pointers.size) leave();
    if (pointers.size) gesture.moved = true;
  }

  function leave() {
    if (!view.hover) return;
    view.hover = null;
    view.hovered();
  }

  function pin(pane, here) {
    const { map } = view.panes[pane];
    const patch = patchAt(map, ...here);
    const same = view.state.at && patchAt(map, ...view.state.at) === patch;
    view.change({ at: patch === null || same ? null : patchMiddle(map, patch) }, true);
  }

  // Zooms so that what lies at `here` (shares of the picture) comes to `where` (pixels of the pane).
  function zoomTo(pane, wanted, where, here) {
    const zoom = Math.max(1, Math.min(MOST_ZOOM, wanted));
    const [, , width, height] = stage.rects[pane] ?? stage.rects[0];
    const [high, wide] = view.panes[pane].inspection.grid.picture;
    const scale = Math.min(width / wide, height / high) * zoom;
    const middle = (extent, size, at, share) => {
      const length = size * scale;
      const half = Math.min(0.5, extent / 2 / length);
      return Math.max(half, Math.min(1 - half, share + (extent / 2 - at) / length));
    };
    const x = zoom === 1 ? 0.5 : middle(width, wide, where[0], here[0]);
    const y = zoom === 1 ? 0.5 : middle(height, high, where[1], here[1]);
    view.change({ zoom, x, y });
  }

  view.zoomBy = (factor) => {
    const [, , width, height] = stage.rects[0];
    const where = [width / 2, height / 2];
    zoomTo(0, view.state.zoom * factor, where, shares(0, where));
  };

  view.panBy = (across, downwards) => {
    const { zoom, x, y } = view.state;
    const [, , width, height] = stage.rects[0];
    const where = [width / 2, height / 2];
    zoomTo(0, zoom, where, [x + across / zoom, y + downwards / zoom]);
  };

  // A wheel that was scrolling the page goes on doing so; at the whole picture, turning back scrolls on.
  let scrolledAt = -SCROLL_REST;
  const scrolled = () => (scrolledAt = performance.now());
  function wheel(event) {
    const pane = paneOfEvent(event);
    if (event.target.tagName !== "CANVAS") return;
    const outwards = event.deltaY > 0 && view.state.zoom === 1;
    if (!event.ctrlKey && (outwards || performance.now() - scrolledAt < SCROLL_REST)) return;
    event.preventDefault();
    const pixels = event.deltaMode ? event.deltaY * 30 : event.deltaY;
    const factor = Math.exp(-Math.max(-200, Math.min(200, pixels)) * (event.ctrlKey ? 0.01 : 0.002));
    zoomTo(pane, view.state.zoom * factor, point(event), shares(pane, point(event)));
  }

  function moveCursor(rows, columns) {
    const { map } = view.panes[0];
    const from = view.hover ?? view.state.at;
    const patch = from ? patchAt(map, ...from) : null;
    let next = ranksOf(map).order[0]; // the first step goes to the strongest patch
    if (patch !== null) {
      const row = Math.max(0, Math.min(map.rows - 1, Math.floor(patch / map.columns) + rows));
      const column = Math.max(0, Math.min(map.columns - 1, (patch % map.columns) + columns));
      next = row * map.columns + column;
    }
    view.hover = patchMiddle(map, next);
    view.hoverPane = 0;
    view.hovered();
    view.announce(patchSentence(view.panes[0].map, next, view.panes[0].inspection));
  }

  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const ends = { Home: [0, -999], End: [0, 999], PageUp: [-999, 0], PageDown: [999, 0] };
  function key(event) {
    if (event.target !== stage.element || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = steps[event.key] ?? ends[event.key];
    if (step && event.shiftKey && steps[event.key]) view.panBy(step[1] * 0.15, step[0] * 0.15);
    else if (step && view.panes[0].map.values) moveCursor(...step);
    else if ((event.key === "Enter" || event.key === " ") && view.hover) pin(0, view.hover);
    else return;
    event.preventDefault();
  }

  const { element, divider } = stage;
  element.addEventListener("pointerdown", down);
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", leave);
  element.addEventListener("blur", leave);
  element.addEventListener("wheel", wheel, { passive: false });
  element.addEventListener("keydown", key);
  window.addEventListener("scroll", scrolled, { passive: true });
  listenToDivider(view, stage, divider);
  return () => window.removeEventListener("scroll", scrolled);
}

function listenToDivider(view, stage, divider) {
  let from = null; // where the divider and the pointer were when the drag began
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    from = [event.clientX, view.state.cut];
    event.preventDefault();
    divider.focus();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!from) return;
    view.change({ cut: clampPercent(from[1] + (100 * (event.clientX - from[0])) / stage.width) });
  });
  for (const type of ["pointerup", "pointercancel"]) divider.addEventListener(type, () => (from = null));
  divider.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -2, ArrowRight: 2, ArrowDown: -2, ArrowUp: 2, PageDown: -10, PageUp: 10 };
    const ends = { Home: 0, End: 100 };
    if (event.key in steps) view.change({ cut: clampPercent(view.state.cut + steps[event.key]) });
    else if (event.key in ends) view.change({ cut: ends[event.key] });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function clampPercent(value) {
  return Math.max(0, Math.min(100, value));
}

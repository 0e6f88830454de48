// The stage: the picture, or two of them, with their maps. Everything is painted in one frame, from what `view` holds.

const PANE_GAP = 8;
const DIM_COLOUR = [12, 13, 16, 232];

// Builds the stage of a view; the returned part has the element, `update()` after a change and `paint()` for a frame.
function makeStage(view) {
  const canvases = [0, 1].map((pane) => el("canvas", { role: "img", class: "look-canvas", "data-pane": pane }));
  const labels = [0, 1].map(() => el("span", { class: "look-label" }));
  const message = el("p", { class: "look-message", hidden: true });
  const divider = el("div", {
    class: "look-divider",
    role: "separator",
    tabindex: "0",
    "aria-orientation": "vertical",
    "aria-label": "Divider between the two maps",
    "aria-valuemin": "0",
    "aria-valuemax": "100",
  });
  const element = el(
    "div",
    {
      class: "look-stage",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "picture with map",
      "aria-label": "Picture with its map. Arrow keys move over patches, Enter keeps one, plus and minus zoom.",
    },
    canvases,
    labels,
    divider,
    message,
  );
  const stage = { caches: [{}, {}], element, canvases, divider, labels, message, width: 0, height: 0, rects: [] };

  stage.measure = () => {
    const width = element.clientWidth;
    if (!width) return;
    const [high, wide] = view.panes[0]?.inspection.grid.picture ?? [3, 4];
    const narrow = window.innerWidth < 736;
    const most = window.innerHeight * (narrow ? 0.42 : 0.66);
    const side = view.panes.length > 1 && view.layout === "side";
    const stacked = side && width < 560 && wide >= high * 0.9;
    const each = side && !stacked ? (width - PANE_GAP) / 2 : width;
    const natural = (each * high) / wide;
    stage.width = width;
    stage.height = Math.round(Math.min(most, stacked ? 2 * natural + PANE_GAP : natural));
    element.style.height = `${stage.height}px`;
    if (!side) stage.rects = [[0, 0, width, stage.height]];
    else if (stacked) {
      const half = (stage.height - PANE_GAP) / 2;
      stage.rects = [
        [0, 0, width, half],
        [0, half + PANE_GAP, width, half],
      ];
    } else {
      stage.rects = [
        [0, 0, each, stage.height],
        [each + PANE_GAP, 0, each, stage.height],
      ];
    }
    canvases.forEach((canvas, pane) => {
      const rect = stage.rects[pane];
      canvas.hidden = !rect;
      if (!rect) return;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const [x, y, w, h] = rect;
      Object.assign(canvas.style, { left: `${x}px`, top: `${y}px`, width: `${w}px`, height: `${h}px` });
      const [pixelsWide, pixelsHigh] = [Math.round(w * ratio), Math.round(h * ratio)];
      if (canvas.width !== pixelsWide || canvas.height !== pixelsHigh) {
        canvas.width = pixelsWide;
        canvas.height = pixelsHigh;
      }
    });
  };

  stage.placement = (pane) => {
    const [, , width, height] = stage.rects[pane] ?? stage.rects[0];
    return placement(view.panes[pane].inspection.grid.picture, width, height, view.state);
  };

  // What a wheel, a drag or the divider changes.
  stage.moved = () => {
    divider.hidden = !(view.panes.length > 1 && view.layout === "swipe");
    setAttribute(divider, "aria-valuenow", Math.round(view.state.cut));
    setAttribute(divider, "aria-valuetext", `${Math.round(view.state.cut)} % of the first map`);
    divider.style.left = `${view.state.cut}%`;
    element.classList.toggle("zoomed", view.state.zoom > 1);
    stage.paint();
  };

  stage.update = () => {
    stage.measure();
    stage.labelled();
    stage.moved();
  };

  // Names above the panes, and what the canvases say to those who cannot see them.
  stage.labelled = () => {
    const two = view.panes.length > 1;
    const swipe = two && view.layout === "swipe";
    labels.forEach((label, pane) => {
      label.hidden = !two;
      if (!two || !stage.rects.length) return;
      setText(label, view.panes[pane].label);
      const [x, y, w] = stage.rects[swipe ? 0 : pane] ?? stage.rects[0];
      const right = swipe && pane === 1;
      label.style.left = right ? "auto" : `${x}px`;
      label.style.right = right ? "0" : "auto";
      label.style.top = `${y}px`;
      label.style.maxWidth = `${(swipe ? w / 2 : w) - 4}px`;
    });
    const { missing } = view.panes[0].shown;
    message.hidden = !missing || view.layout === "blind";
    setText(message, missing ? `No map here: ${missing}.` : "");
    canvases.forEach((canvas, pane) => {
      if (!stage.rects[pane] || !view.panes[pane]) return;
      const shown = view.panes.map((each) => `${each.label}. ${each.blind ? "" : strongestText(each.shown)}`);
      setAttribute(canvas, "aria-label", swipe ? shown.join(" Beside it: ") : shown[pane]);
    });
  };

  stage.paint = () => {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const swipe = view.panes.length > 1 && view.layout === "swipe";
    stage.rects.forEach((rect, pane) => {
      const [, , width, height] = rect;
      if (!view.panes[pane] || !canvases[pane].width || !canvases[pane].height) return; // not laid out yet
      const context = canvases[pane].getContext("2d");
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      if (!swipe) return paintPane(context, view, pane, stage.placement(pane), { cache: stage.caches[pane] });
      const cut = (view.state.cut / 100) * width;
      [0, 1].forEach((each) => {
        context.save();
        context.beginPath();
        context.rect(each ? cut : 0, 0, each ? width - cut : cut, height);
        context.clip();
        const place = placement(view.panes[each].inspection.grid.picture, width, height, view.state);
        paintPane(context, view, each, place, { cache: stage.caches[each] });
        context.restore();
      });
    });
  };
  return stage;
}

function paintPane(context, view, pane, place, more = {}) {
  const { shown, image, dims, inspection, blind } = view.panes[pane];
  const { state } = view;
  const cursor = view.hover ? patchAt(shown, ...view.hover) : null;
  const pinned = state.at ? patchAt(shown, ...state.at) : null;
  drawScene(context, image, shown, place, {
    opacity: state.opacity / 100,
    colours: state.colours,
    smooth: state.smooth,
    scale: state.scale,
    showMap: (state.showMap || blind) && !dims,
    dims,
    artifacts: state.marks && !dims && !blind ? inspection.artifacts?.tokens : null,
    cursor,
    pinned,
    ...more,
  });
}

// What the panes show: the chosen map and, in comparisons, another; under the pointer perhaps where a patch looks.
function derivePanes(view) {
  const { state } = view;
  const first = view.loaded[state.spec.run];
  if (state.blind) {
    view.layout = "side";
    view.panes = state.blind.maps.map((map, pane) => paneOf(view, first, map, state.blind.label(pane), true));
    return;
  }
  const spec = completeSpec(first, state.spec);
  view.spec = spec;
  const specs = [spec];
  const second = state.second && view.loaded[state.second.run];
  if (second) specs.push(completeSpec(second, state.second));
  view.layout = specs.length > 1 ? state.how : "one";
  view.panes = specs.map((each) => {
    const inspection = view.loaded[each.run];
    return paneOf(view, inspection, shownMap(inspection, each), paneLabel(view, inspection, each), false);
  });
}

function paneOf(view, inspection, map, label, blind) {
  const { state } = view;
  const point = view.hover ?? state.at;
  const patch = point && !blind ? patchAt(map, ...point) : null;
  const layer = map.spec?.layer ?? lastLayer(inspection);
  const queried = state.way !== "read" && patch !== null && patch !== undefined;
  const shown = queried ? patchShown(inspection, layer, patch, state.way) : map;
  return {
    inspection,
    map,
    shown,
    label: queried ? mapTitle(shown) : label,
    blind,
    image: inspection.picked ?? null,
    dims: blind ? null : shareDims(state, map),
  };
}

function paneLabel(view, inspection, spec) {
  const title = mapTitle(shownMap(inspection, spec));
  return view.labels.length > 1 ? `${view.labels[spec.run]}: ${title}` : title;
}

// The patches that the slider takes out of a map's picture, as a canvas; null where it takes none.
function shareDims(state, map) {
  if (!map.values) return null;
  const share = state.keep === null ? state.out : state.keep;
  if (share === null) return null;
  const gone = goneCount(map.values.length, state.keep === null ? share : 100 - share);
  if (gone === 0) return null;
  const key = `${state.keep === null ? "out" : "keep"} ${gone}`;
  if (map.dims?.key !== key) {
    const dims = new Uint8Array(map.values.length);
    const { order } = ranksOf(map);
    const taken = state.keep === null ? order.subarray(0, gone) : order.subarray(order.length - gone);
    for (const patch of taken) dims[patch] = 1;
    map.dims = { key, canvas: dimCanvas(dims, map.columns, map.rows, DIM_COLOUR) };
  }
  return map.dims.canvas;
}

// How many patches are gone at a share (percent) of them, as the curves were measured: rounded, halves to even.
function goneCount(patches, share) {
  const exact = (patches * share) / 100;
  const floor = Math.floor(exact);
  if (exact - floor !== 0.5) return Math.round(exact);
  return floor % 2 ? floor + 1 : floor;
}

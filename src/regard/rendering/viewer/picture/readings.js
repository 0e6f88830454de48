// What is read at a patch, and the small maps below: of all methods, all layers, all heads, all classes.

const SMALL_SIZE = 112; // CSS pixels of the longer side of a small map
const MINI_SIZE = 76;
const TAP = "to read a patch; again to let it go.";
const MOVE = "(or use the arrow keys) to read a patch; click to keep it.";
const touchOnly = window.matchMedia("(hover: none)");

function makeReadings(view, read) {
  const where = el("strong", {});
  const weight = el("span", {});
  read.append(where, " ", weight);
  const lens = el("p", { class: "look-lens" });
  const hint = el("p", { class: "note" });
  const minis = ["to", "from"].map((way) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const text = way === "to" ? "Looks at" : "Looked at by";
    const title =
      way === "to" ? "Show on the picture where the patch looks" : "Show on the picture what looks at the patch";
    const choose = () => view.change({ way: view.state.way === way ? "read" : way }, true);
    const button = el("button", { type: "button", class: "look-mini", title, onclick: choose }, canvas, el("span", {}, text));
    return { way, canvas, button };
  });
  const element = el(
    "div",
    { class: "look-reading" },
    el("div", { class: "look-words" }, lens, hint),
    el("div", { class: "look-minis", role: "group", "aria-label": "Attention of the patch" }, minis.map((each) => each.button)),
  );
  let minisKey = null;

  const part = { element };
  part.update = () => {
    part.hovered();
    element.hidden = Boolean(view.state.blind);
    const held = patchShown(view.panes[0].inspection, lastLayer(view.panes[0].inspection), 0, "to");
    for (const { way, button } of minis) {
      setDisabled(button, held.missing && `Where patches look is not here: ${held.missing}.`);
      setAttribute(button, "aria-pressed", String(view.state.way === way));
    }
  };

  part.hovered = () => {
    const { map, inspection, blind } = view.panes[view.hoverPane] ?? view.panes[0];
    const point = view.hover ?? view.state.at;
    const patch = point && !blind ? patchAt(map, ...point) : null;
    const empty = patch === null || patch === undefined;
    element.classList.toggle("empty", empty);
    read.classList.toggle("empty", empty);
    read.hidden = Boolean(view.state.blind);
    setText(where, empty ? (touchOnly.matches ? "Tap the picture" : "Move over the picture") : `R${patchName(map, patch).slice(1)}:`);
    setText(weight, empty ? (touchOnly.matches ? TAP : MOVE) : readingOf(map, patch));
    const layer = map.spec?.layer ?? lastLayer(inspection);
    const reading = empty ? null : lensReading(inspection, layer, patch);
    const artifact = !empty && inspection.artifacts?.tokens.includes(patch);
    lens.replaceChildren(...(reading ? lensWords(inspection, patch, reading, artifact) : []));
    const can = "What a patch would be read as, where it looks, and what looks at it, is said here.";
    const missing = `What a patch would be read as is not here: ${absentReason(inspection, "lens")}.`;
    setText(hint, inspection.lens ? (empty ? can : "") : missing);
    drawMinis(inspection, layer, patch, empty);
  };

  function readingOf(map, patch) {
    return map.values ? `weight ${weightText(map, patch)}, rank ${rankText(map, patch)}` : "no map";
  }

  function drawMinis(inspection, layer, patch, empty) {
    const key = empty ? null : `${layer} ${patch} ${view.state.colours} ${view.state.scale}`;
    if (key === minisKey && element.inspection === inspection) return;
    minisKey = key;
    element.inspection = inspection;
    for (const { way, canvas } of minis) {
      const map = patchShown(inspection, layer, empty ? 0 : patch, way);
      const shown = { opacity: 0.6, colours: view.state.colours, scale: view.state.scale, size: MINI_SIZE, pinned: empty ? null : patch };
      const showMap = !empty && Boolean(map.values);
      drawMap(canvas, inspection.picked ?? null, map, { ...shown, showMap, grey: true, crop: true });
    }
  }
  return part;
}

// "Its token would be read as Bengal (0.91)", and how that went through the layers.
function lensWords(inspection, patch, reading, artifact) {
  const path = lensPath(inspection, patch);
  const steps = path.slice(-4).map(({ layers, name }) => `${layers} ${shortClass(name)}`);
  const read = `Read as ${shortClass(reading.name)} (${probability(reading.probability)}) behind layer ${reading.layer}`;
  const through = path.length > 1 ? `; by layer: ${path.length > 4 ? "… " : ""}${steps.join(" → ")}` : "";
  return [artifact ? el("span", { class: "look-artifact" }, "Artifact token. ") : "", `${read}${through}.`];
}

const TILE_KINDS = [
  ["methods", "Methods", "One small map for each method"],
  ["layers", "Layers", "One for each layer"],
  ["heads", "Heads", "One for each head of the layer"],
  ["classes", "Classes", "One for each class, by this method"],
];

function makeTiles(view) {
  const choice = segmented("Small maps of", TILE_KINDS, (tiles) => view.change({ tiles }, true));
  const grid = el("div", { class: "look-grid", role: "group", "aria-label": "Small maps" });
  const note = el("p", { class: "note" });
  const heading = el(`h${view.heading}`, { class: "look-heading" }, "At a glance");
  const element = el("section", { class: "look-tiles" }, el("div", { class: "look-row" }, heading, choice), note, grid);
  let signature = null;
  let tiles = []; // { spec, map, button, canvas, drawn }

  // Arrow keys move among the small maps.
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = tiles.map((tile) => tile.button);
    const place = buttons.indexOf(document.activeElement);
    if (!step || place < 0) return;
    buttons[(place + step + buttons.length) % buttons.length].focus();
    event.preventDefault();
  });

  const part = { element };
  part.update = () => {
    const { inspection } = view.panes[0];
    const reasons = tileReasons(inspection, view.spec);
    const kind = reasons[view.state.tiles] ? "methods" : view.state.tiles;
    choice.show(kind, reasons);
    element.hidden = Boolean(view.state.blind) || !view.panes[0].map.group;
    const specs = tileSpecs(inspection, view.spec, kind);
    const look = `${view.state.colours} ${view.state.smooth} ${view.state.scale} ${Boolean(inspection.picked)} ${inspection.serial}`;
    const wanted = `${kind} ${look} ${specs.map(([spec]) => specKey(spec)).join(" ")}`;
    if (wanted !== signature) {
      signature = wanted;
      build(inspection, specs);
    }
    const chosen = specKey(view.spec);
    for (const tile of tiles) setAttribute(tile.button, "aria-pressed", String(specKey(tile.spec) === chosen));
  };

  function build(inspection, specs) {
    const focused = tiles.findIndex((tile) => tile.button === document.activeElement);
    tiles = specs.map(([spec, text]) => {
      const canvas = el("canvas", { "aria-hidden": "true" });
      const label = el("span", {}, text);
      const button = el("button", { type: "button", class: "look-tile", onclick: () => view.choose(spec) }, canvas, label);
      return { spec, button, canvas };
    });
    grid.replaceChildren(...tiles.map((tile) => tile.button));
    if (focused >= 0) tiles[Math.min(focused, tiles.length - 1)]?.button.focus();
    setText(note, tiles.length ? "" : "There is nothing to show side by side.");
    drawSome(inspection, signature, 0);
  }

  // A few each frame, so that no frame is long.
  function drawSome(inspection, wanted, from) {
    if (wanted !== signature) return;
    const end = performance.now() + 5;
    let place = from;
    while (place < tiles.length && performance.now() < end) {
      const { spec, canvas, button } = tiles[place];
      const map = shownMap(inspection, spec);
      const { colours, smooth, scale } = view.state;
      drawMap(canvas, inspection.picked ?? null, map, { size: SMALL_SIZE, opacity: 0.6, colours, smooth, scale, crop: true, showMap: Boolean(map.values) });
      button.title = map.values ? strongestText(map) : map.missing;
      place += 1;
    }
    if (place < tiles.length) requestAnimationFrame(() => drawSome(inspection, wanted, place));
  }
  return part;
}

// Why a kind of small maps is not to be had, by kind.
function tileReasons(inspection, spec) {
  const group = mapGroups(inspection).find((each) => each.id === spec.map);
  const layered = attentionLayers(inspection).length > 0;
  const reason = layered ? "" : `Attention by layer is not here: ${absentReason(inspection, "cls", "layers")}.`;
  const classes = group && groupClasses(group).length > 1 ? "" : `${group?.label ?? "This"} is of no class or of one only.`;
  return { layers: reason, heads: reason, classes };
}

function tileSpecs(inspection, spec, kind) {
  const complete = (part) => completeSpec(inspection, { ...spec, ...part });
  if (kind === "layers") {
    const head = spec.map === ATTENTION ? spec.head : null;
    return attentionLayers(inspection).map((layer) => [complete({ map: ATTENTION, layer, head }), `Layer ${layer}`]);
  }
  if (kind === "heads") {
    const layer = spec.map === ATTENTION ? spec.layer : lastLayer(inspection);
    const heads = Array.from({ length: inspection.network.heads }, (_, head) => head);
    const whole = [[complete({ map: ATTENTION, layer, head: null }), "Mean"]];
    if (!readerMap(inspection, layer, 0)) return whole;
    return [...whole, ...heads.map((head) => [complete({ map: ATTENTION, layer, head }), `Head ${head}`])];
  }
  const groups = mapGroups(inspection);
  if (kind === "classes") {
    const group = groups.find((each) => each.id === spec.map);
    return groupClasses(group).map((of) => [complete({ of, vs: null }), shortClass(of)]);
  }
  return groups.map((group) => [complete({ map: group.id, vs: null }), group.label]);
}

// Opens the picture view: `openPicture(host, inspections, state, onState, options) -> { close(), show(state) }`.
//
// `inspections` are of one picture, by one or more networks or runs: unpacked ones, or handles { label, load() }. The
// state is an object of texts, as the address has them; `onState(changes, push)` is told of what is worth a link.

const USUAL_STATE = { way: "read", keep: null, out: null, how: "swipe", cut: 50, smooth: false, opacity: 50 };
Object.assign(USUAL_STATE, { colours: "inferno", zoom: 1, x: 0.5, y: 0.5, tiles: "methods", showMap: true, marks: true, scale: "plain" });
const MOVES = ["zoom", "x", "y", "cut"];
const LINK_DELAY = 200; // ms after the last change
let inspectionSerial = 0;

// A state from texts; what cannot be one is left out.
function stateOf(texts) {
  const number = (text, low, high) => {
    const value = text === undefined || text === null || text === "" ? NaN : Number(text);
    return value >= low && value <= high ? value : null;
  };
  const among = (text, values, usual) => (values.includes(text) ? text : usual);
  const at = /^(\d\.?\d*),(\d\.?\d*)$/.exec(texts.at ?? "");
  return {
    ...USUAL_STATE,
    spec: specOf(texts),
    second: texts.with ? specOfText(texts.with) : null,
    at: at && at[1] <= 1 && at[2] <= 1 ? [Number(at[1]), Number(at[2])] : null,
    way: among(texts.way, ["read", "to", "from"], "read"),
    keep: number(texts.keep, 0, 100),
    out: number(texts.out, 0, 100),
    how: among(texts.how, ["swipe", "side"], "swipe"),
    cut: number(texts.cut, 0, 100) ?? 50,
    smooth: texts.smooth === "1",
    scale: among(texts.scale, ["plain", "all", "rank"], "plain"),
    opacity: number(texts.opacity, 0, 100) ?? USUAL_STATE.opacity,
    colours: among(texts.colours, ["inferno", "viridis", "spotlight"], "inferno"),
    zoom: number(texts.zoom, 1, MOST_ZOOM) ?? 1,
    x: number(texts.x, 0, 1) ?? 0.5,
    y: number(texts.y, 0, 1) ?? 0.5,
    tiles: among(texts.tiles, TILE_KINDS.map(([kind]) => kind), "methods"),
    blind: null,
  };
}

// The texts of a state, null for what is as usual.
function textsOf(view) {
  const { state } = view;
  const usual = completeSpec(view.loaded[state.spec.run], { run: state.spec.run });
  const spec = Object.fromEntries(
    ["map", "of", "vs", "layer", "head"].map((name) => [name, view.spec[name] === usual[name] ? null : view.spec[name]]),
  );
  if (spec.map === null && (spec.of ?? spec.vs ?? spec.layer ?? spec.head) !== null) spec.map = view.spec.map;
  const short = (value) => (value === null ? null : String(Math.round(value * 1000) / 1000));
  const unusual = (name) => (state[name] === USUAL_STATE[name] ? null : String(state[name]));
  return {
    ...spec,
    run: state.spec.run || null,
    repaired: view.spec.repaired ? "1" : null,
    at: state.at && state.at.map(short).join(","),
    with: view.panes.length > 1 && !state.blind ? specText(view.panes[1].map.spec) : null,
    how: unusual("how"),
    cut: state.cut === 50 ? null : short(state.cut),
    smooth: state.smooth ? "1" : null,
    zoom: state.zoom === 1 ? null : short(state.zoom),
    x: state.zoom === 1 ? null : short(state.x),
    y: state.zoom === 1 ? null : short(state.y),
    ...Object.fromEntries(["way", "keep", "out", "opacity", "colours", "tiles", "scale"].map((name) => [name, unusual(name)])),
  };
}

function openPicture(host, inspections, state = {}, onState = null, options = {}) {
  const handles = inspections.map((each) => (typeof each.load === "function" ? each : { load: async () => each }));
  const view = { host, heading: options.heading ?? 2, linked: Boolean(onState), loaded: [], panes: [], hover: null };
  view.labels = handles.map((handle, run) => handle.label ?? `network ${run + 1}`);
  view.state = stateOf(state);
  if (!handles[view.state.spec.run]) view.state.spec.run = 0;
  const frame = { level: 0, pending: false };
  let namesTimer = 0;
  let parts = [];
  let stage = null;
  let live = null;
  let root = null;
  let stops = [];
  let closed = false;
  let linkTimer = 0;
  let wantsPush = false;

  // One frame for all that changed since the last: the pointer (0), where the picture lies (1), or anything (2).
  function schedule(level) {
    frame.level = Math.max(frame.level, level);
    if (frame.pending || !stage) return;
    frame.pending = true;
    requestAnimationFrame(draw);
  }

  function draw() {
    const { level } = frame;
    Object.assign(frame, { level: 0, pending: false });
    if (closed) return;
    derivePanes(view);
    if (level === 2 && waiting.length) return drawFirst();
    if (level === 2) {
      for (const part of parts) part.update();
      stage.update();
      return;
    }
    for (const part of parts) part.hovered?.();
    stage.moved();
    if (view.state.way === "read") return;
    clearTimeout(namesTimer); // what a pointer passes over is not worth words
    namesTimer = setTimeout(stage.labelled, LINK_DELAY);
  }

  // The first time the picture comes first, and the panel part by part, so that no frame is long.
  let waiting = [];
  function drawFirst() {
    const end = performance.now() + 4;
    if (waiting[0] === stage) waiting.shift().update(); // a frame of its own
    else {
      do waiting.shift().update();
      while (waiting.length && performance.now() < end);
    }
    if (waiting.length) schedule(2);
    else root.classList.remove("unpacking");
  }

  view.hovered = () => schedule(0);
  view.change = (changes, push = false) => {
    if ("hover" in changes) view.hover = changes.hover;
    Object.assign(view.state, changes);
    if (waiting.length) waiting = [stage, ...parts];
    wantsPush ||= push;
    clearTimeout(linkTimer);
    if (onState) linkTimer = setTimeout(link, push ? 0 : LINK_DELAY);
    const level = Object.keys(changes).every((name) => MOVES.includes(name)) && Object.keys(changes).length ? 1 : 2;
    load(neededRuns(view.state)).then(() => schedule(level), () => {});
  };
  function link() {
    if (closed || !stage) return;
    derivePanes(view);
    onState(textsOf(view), wantsPush);
    wantsPush = false;
  }

  // Changes what is shown; what the method cannot have is left out.
  view.choose = (part, push = true) => {
    const merged = { ...view.spec, ...part };
    if (part.map && part.map !== view.spec.map) Object.assign(merged, sameClass(part));
    view.spec = completeSpec(view.loaded[merged.run], merged); // at once: the next key may come before the next frame
    view.change({ spec: view.spec }, push);
  };
  function sameClass(part) {
    const inspection = view.loaded[view.state.spec.run];
    const group = mapGroups(inspection).find((each) => each.id === part.map);
    const held = group ? groupClasses(group) : [];
    const of = part.of ?? (held.includes(view.spec.of) ? view.spec.of : null);
    const vs = part.vs ?? (held.includes(view.spec.vs) ? view.spec.vs : null);
    return { of, vs, layer: part.layer ?? view.state.spec.layer, head: part.head ?? view.state.spec.head };
  }
  view.chooseClass = (name) => {
    const groups = mapGroups(view.panes[0].inspection).filter((group) => groupClasses(group).includes(name));
    const group = groups.find((each) => each.id === view.spec.map) ?? groups.find((each) => !each.control) ?? groups[0];
    view.choose({ map: group.id, of: name, vs: null });
  };
  let beforeWhy = null;
  view.toggleWhy = () => {
    const { of, vs, map } = whyQuestion(view.panes[0].inspection, view.spec.map);
    if (!map) return;
    if (view.spec.of === of && view.spec.vs === vs) view.change({ spec: beforeWhy ?? { ...view.spec, vs: null } }, true);
    else {
      beforeWhy = view.spec;
      view.choose({ map, of, vs });
    }
  };
  const repairable = () => view.panes[0].map.group?.layered && readArray(view.panes[0].inspection, "cls_repaired");
  view.toggleRepaired = () => {
    if (repairable()) view.choose({ repaired: !view.spec.repaired });
    else view.announce(`No repair of this map: ${absentReason(view.panes[0].inspection, "cls_repaired", "repaired")}.`);
  };
  view.compareRepaired = () => {
    const before = { ...view.spec, repaired: false };
    view.change({ spec: before, second: { ...before, repaired: true } }, true);
  };
  view.exchange = () => {
    const second = view.panes[1].map.spec;
    view.change({ spec: second, second: view.spec }, true);
  };
  view.scrub = (mode, share) => {
    const other = mode === "keep" ? "out" : "keep";
    const rest = mode === "keep" ? 100 : null; // "take out" stays chosen at 0 %
    view.change({ [mode]: share === rest ? null : share, [other]: null });
  };
  view.announce = (text) => setText(live, text);

  async function load(runs) {
    const missing = runs.filter((run) => handles[run] && !view.loaded[run]);
    await Promise.all(missing.map(loadRun));
  }
  async function loadRun(run) {
    const inspection = await handles[run].load();
    inspection.serial ??= ++inspectionSerial;
    view.loaded[run] = inspection;
    const { name } = inspection.network;
    if (!handles[run].label && !view.labels.includes(name)) view.labels[run] = name;
    inspection.picked = await inspectionImage(inspection);
  }

  function build() {
    if (closed) return;
    live = el("p", { class: "sr", role: "status", "aria-live": "polite" });
    stage = makeStage(view);
    derivePanes(view);
    const legend = makeLegend(view);
    const readings = makeReadings(view, legend.read);
    const blind = makeBlind(view);
    const actions = makeActions(view);
    const keys = makeKeys(view);
    const side = [makeAnswer(view), makeMapControls(view), makeScrub(view), makeCompare(view), blind, makeDisplay(view)];
    const tiles = makeTiles(view);
    const foot = makeProvenance(view);
    Object.assign(view, { beginBlind: blind.begin, guess: blind.guess, save: actions.save });
    const panel = el("div", { class: "look-side" }, side.map((part) => part.element));
    const pictures = el("div", { class: "look-picture" }, stage.element, legend.element);
    root = el("div", { class: "look unpacking" }, pictures, actions.element, readings.element, panel, tiles.element, foot.element, live, keys.element);
    parts = [legend, readings, ...side, tiles, actions, foot];
    waiting = [stage, ...parts];
    host.replaceChildren(root);
    const observer = new ResizeObserver(() => stage.width !== stage.element.clientWidth && schedule(2));
    observer.observe(stage.element);
    const resized = () => schedule(2);
    window.addEventListener("resize", resized);
    stops = [listenToStage(view, stage), keys.stop, () => observer.disconnect(), () => window.removeEventListener("resize", resized)];
    schedule(2);
    // the other networks, so that they can be chosen by their names
    if (handles.length > 1) load([...handles.keys()]).then(() => schedule(2), () => {});
  }

  host.replaceChildren(el("p", { class: "note" }, "Unpacking the maps …"));
  load(neededRuns(view.state)).then(build, () => {
    host.replaceChildren(el("p", { class: "note" }, "These maps cannot be shown; what is wrong is said at the top of the page."));
  });

  return {
    close() {
      closed = true;
      clearTimeout(linkTimer);
      clearTimeout(namesTimer);
      for (const stop of stops) stop();
      host.replaceChildren();
    },
    show(texts) {
      view.state = stateOf(texts);
      if (waiting.length) waiting = [stage, ...parts];
      if (!handles[view.state.spec.run]) view.state.spec.run = 0;
      load(neededRuns(view.state)).then(() => schedule(2), () => {});
    },
  };
}

function neededRuns(state) {
  return [...new Set([state.spec.run, state.second?.run ?? state.spec.run])];
}

// Keys for everything, and the overlay that lists them. They work while the focus is in the view, in the dialog around it, or nowhere; with a tick
// in the overlay they can be turned off, for those who speak to their computer.

function makeKeys(view) {
  const layered = (change) => {
    const { map, inspection } = view.panes[0];
    if (map.group?.layered) change(view.spec, inspection.network);
  };
  const next = (value, step, low, high) => Math.max(low, Math.min(high, value + step));
  const step = (list, current, by) => list[(list.indexOf(current) + by + list.length) % list.length];
  const method = (by) => {
    const ids = mapGroups(view.panes[0].inspection).map((group) => group.id);
    view.choose({ map: step(ids, view.spec.map, by) });
  };
  const target = (by) => {
    const { group } = view.panes[0].map;
    const classes = group ? groupClasses(group) : [];
    if (classes.length) view.choose({ of: step(classes, view.spec.of, by), vs: null });
  };
  const layer = (by) => layered((spec, { layers }) => view.choose({ layer: next(spec.layer, by, 0, layers - 1) }));
  const head = (by) =>
    layered((spec, { heads }) => {
      const place = next(spec.head === null ? -1 : spec.head, by, -1, heads - 1);
      view.choose({ head: place < 0 ? null : place });
    });
  const share = (by) => {
    const { keep, out } = view.state;
    if (out !== null) view.scrub("out", clampPercent(out + by));
    else view.scrub("keep", clampPercent((keep ?? 100) + by));
  };
  const ways = ["read", "to", "from"];
  const rows = [
    ["On the picture"],
    ["← ↑ → ↓", "move over patches"],
    ["Enter", "keep the patch, or let it go"],
    ["Shift + arrows", "move what is shown"],
    ["+ − 0", "zoom in, out, whole picture"],
    ["Which map"],
    ["m  M", "next, last method", { m: () => method(1), M: () => method(-1) }],
    ["c  C", "next, last class", { c: () => target(1), C: () => target(-1) }],
    ["y", "why this class and not the other", { y: () => view.toggleWhy() }],
    ["]  [", "next, last layer", { "]": () => layer(1), "[": () => layer(-1) }],
    [".  ,", "next, last head", { ".": () => head(1), ",": () => head(-1) }],
    ["r", "before and after repair of artifact tokens", { r: () => view.toggleRepaired() }],
    ["w", "what the picture shows of a patch: the map, where it looks, what looks at it", { w: () => view.change({ way: step(ways, view.state.way, 1) }, true) }],
    ["Is it true?"],
    ["k  K", "keep fewer, more of the strongest patches", { k: () => share(-10), K: () => share(10) }],
    ["t", "take the strongest out, instead of keeping them", { t: () => view.scrub(view.state.out === null ? "out" : "keep", view.state.out === null ? 0 : 100) }],
    ["b", "blind test; then a or b", { b: () => (view.state.blind ? view.change({ blind: null }, true) : view.beginBlind()) }],
    ["How it looks"],
    ["v", "the map on and off", { v: () => view.change({ showMap: !view.state.showMap }) }],
    ["g", "squares or smooth", { g: () => view.change({ smooth: !view.state.smooth }, true) }],
    ["x", "swipe or side by side, in comparisons", { x: () => view.change({ how: view.state.how === "swipe" ? "side" : "swipe" }, true) }],
    ["h", "colours to the strongest patch, without outliers, or by rank", { h: () => view.change({ scale: step(["all", "plain", "rank"], view.state.scale, 1) }, true) }],
    ["S", "save the picture", { S: () => view.save() }],
    ["?", "this list", { "?": () => view.help() }],
    ["Esc", "let go: of the patch, of the slider", { Escape: () => view.change({ at: null, keep: null, out: null, way: "read" }, true) }],
  ];
  const acts = Object.assign({}, ...rows.map(([, , keys]) => keys ?? {}), {
    "+": () => view.zoomBy(1.5),
    "=": () => view.zoomBy(1.5),
    "-": () => view.zoomBy(1 / 1.5),
    0: () => view.change({ zoom: 1, x: 0.5, y: 0.5 }),
    a: () => view.guess(0),
  });
  const beginBlind = acts.b;
  acts.b = () => (view.state.blind && view.state.blind.chosen === null ? view.guess(1) : beginBlind());

  const letters = el("input", { type: "checkbox", checked: true });
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const body = rows.map(([keys, what]) =>
    what
      ? el("tr", {}, el("th", { scope: "row" }, keys.split("  ").map((key, place) => [place ? " " : "", el("kbd", {}, key)])), el("td", {}, what))
      : el("tr", {}, el("th", { scope: "colgroup", colspan: 2, class: "look-heading" }, keys)),
  );
  const title = el("h2", { id: "look-keys" }, "Keys");
  const table = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "List of keys" }, el("table", {}, el("tbody", {}, body)));
  const toggle = el("label", {}, letters, " Letters act at once (arrow keys and Enter always do)");
  const dialog = el("dialog", { class: "look-help", "aria-labelledby": "look-keys" }, title, table, toggle, close);

  function key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || dialog.open) return;
    const { target: place } = event;
    const inside = (view.host.closest("dialog") ?? view.host).contains(place) || place === document.body;
    const types = place.closest?.("select, textarea, [contenteditable]") || (place.tagName === "INPUT" && place.type !== "range" && place.type !== "checkbox");
    if (!inside || types || !view.host.isConnected || !acts[event.key]) return;
    if (event.key === "Escape" ? !letsGo(view.state) : !letters.checked) return;
    event.preventDefault();
    acts[event.key]();
  }
  document.addEventListener("keydown", key);
  view.help = () => dialog.showModal();
  return { element: dialog, update() {}, stop: () => document.removeEventListener("keydown", key) };
}

// Whether Escape has something of the view to let go, or is left to what the view stands in.
function letsGo(state) {
  return state.at !== null || state.keep !== null || state.out !== null || state.way !== "read";
}

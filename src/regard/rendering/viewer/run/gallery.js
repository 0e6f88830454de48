// The gallery: all pictures of a run, of which only those in view are in the page.

const TILE = 152; // pixels that a tile is wide at least
const MOST = 200; // tiles in the page at once
const CHOICES = { right: ["right", "wrong"], flips: ["flips", "stays"] };

function thumbOf(columns, index) {
  if (columns.thumbs) return columns.thumbs.replace("{i}", index);
  return columns.thumb?.[index] ?? thumbAddress(index) ?? document.querySelector(`[data-picture="${index}"] img.picture`)?.src ?? null;
}

// The label, and what it was taken for.
function answerOf(columns, index) {
  const said = columns.classes[columns.predicted[index]];
  const truth = columns.classes[columns.true[index]];
  const sure = columns.confidence[index];
  const confidence = Number.isNaN(sure) ? null : el("span", { class: "confidence" }, ` ${sure.toFixed(2)}`);
  if (said === undefined && truth === undefined) return columns.caption?.[index] ? [isolated(columns.caption[index])] : [];
  if (said === undefined) return [isolated(truth, { class: "right" })];
  if (truth === undefined) return ["said ", isolated(said), confidence];
  if (columns.right[index]) return [isolated(truth, { class: "right" }), confidence];
  const arrow = el("span", { class: "arrow", role: "img", "aria-label": "taken for" }, "→");
  return [isolated(truth, { class: "right" }), " ", arrow, " ", isolated(said, { class: "wrong" }), confidence];
}

function shortName(columns, index) {
  return columns.short?.[index] ?? columns.name[index].split(/[/\\]/).pop();
}

// `show(filter, goThere)` of what this returns sets the filter; `open(index, list)` is called for a tile.
function gallery(host, columns, open, onFilter) {
    const count = el("p", { class: "count", id: "gallery-count", tabindex: "-1", role: "status" });
  const grid = el("div", { class: "tiles", role: "grid", "aria-label": "Pictures", "aria-describedby": "gallery-count" });
  const space = el("div", { class: "tile-space", role: "presentation" });
  const none = el("p", { class: "none", hidden: true }, "No picture is left by these filters.");
  grid.append(space);
  let filter = {};
  let list = new Uint32Array(0);
  let active = 0;
  let across = 1;
  let high = 1;
  const rows = new Map();

  function field(label, control) {
    if (!control.hasAttribute("aria-label")) control.setAttribute("aria-label", label); // the options are no part of it
    return el("label", { class: "field" }, el("span", {}, label), control);
  }
  function choice(options, onchange) {
    const select = el("select", { onchange });
    for (const [value, text] of options) select.append(el("option", { value }, text));
    return select;
  }
  const used = (column) => {
    const present = new Uint8Array(columns.classes.length);
    for (const each of column) if (each >= 0) present[each] = 1;
    return columns.classes.map((text, at) => [at, text]).filter(([at]) => present[at]);
  };
  const any = (key, parse) => (event) => change({ [key]: event.target.value === "" ? undefined : parse(event.target.value) });
  const find = el("input", { type: "search", autocomplete: "off", spellcheck: "false", oninput: (event) => change({ find: event.target.value || undefined }) });
  const controls = { find };
  const fields = [field(columns.caption ? "Find a name, class or caption" : "Find a name or class", find)];
  function addChoice(key, label, options, parse = Number) {
    controls[key] = choice([["", "all"], ...options], any(key, parse));
    fields.push(field(label, controls[key]));
  }
  const known = columns.true.some((each) => each >= 0);
  if (known) addChoice("true", "True class", used(columns.true));
  if (columns.predicted.some((each) => each >= 0)) addChoice("answer", "Predicted class", used(columns.predicted));
  if (known) addChoice("right", "Answer", [[1, "right"], [0, "wrong"]]);
  if (columns.confidence.some((each) => !Number.isNaN(each))) {
    for (const [key, word, hint] of [["low", "from", "0"], ["high", "to", "1"]]) {
      controls[key] = el("input", { type: "number", min: "0", max: "1", step: "0.05", placeholder: hint, "aria-label": `Confidence ${word}`, oninput: any(key, Number) });
    }
    const ends = el("span", { class: "ends" }, controls.low, " to ", controls.high);
    fields.push(el("div", { class: "field", role: "group", "aria-label": "Confidence" }, el("span", {}, "Confidence"), ends));
  }
  if (columns.flips.some((each) => each >= 0)) addChoice("flips", "Background", [[1, "flips the answer"], [0, "does not"]]);
  columns.slices.forEach((slice, at) => {
    const key = `slice${at}`;
    controls[key] = choice([["", "all"], ...slice.values.map((text, code) => [code, text])], (event) =>
      change({ slice: event.target.value === "" ? undefined : [at, Number(event.target.value)] }));
    fields.push(field(slice.column, controls[key]));
  });
  const orders = Object.entries(SORTS).filter(([key]) => (key !== "worst" || known) && (key !== "doubtful" || columns.doubtful) && (controls.low || !["surest", "unsure", "worst"].includes(key)));
  controls.sort = choice(orders, (event) => change({ sort: event.target.value === "data" ? undefined : event.target.value }));
  fields.push(field("Order", controls.sort));
  const reset = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => (show({}), find.focus()) }, "Show all");
  const search = el("search", { class: "filters", "aria-label": "Which pictures" }, fields);

  function change(part) {
    filter = { ...filter, ...part };
    refresh();
    onFilter(filter);
  }

  function refresh() {
    list = selectPictures(columns, filter);
    active = 0;
    const { sort, ...narrowing } = filter;
    const narrowed = Object.values(narrowing).some((value) => value !== undefined);
    const words = filterWords(columns, filter);
    const order = sort ? `, ${SORTS[sort]}` : "";
    const text = narrowed ? `${grouped(list.length)} of ${plural(columns.count, "picture")}: ${words}${order}` : `${plural(columns.count, "picture")}${order}`;
    count.replaceChildren(isolated(text));
    reset.hidden = !narrowed && !sort;
    none.hidden = list.length > 0;
    grid.hidden = list.length === 0;
    grid.scrollTop = 0;
    lay(true);
  }

  // Columns and rows of the grid as it is wide now, and the tiles that are in view.
  function lay(anew = false) {
    const wide = grid.clientWidth;
    if (!wide) return;
    const fits = Math.max(2, Math.floor((wide + 12) / (TILE + 12)));
    const tile = (wide + 12) / fits - 12;
    if (anew || fits !== across) {
      for (const row of rows.values()) row.remove();
      rows.clear();
    }
    across = fits;
    high = Math.round(tile + 82);
    grid.style.setProperty("--across", across);
    grid.style.setProperty("--tile", `${tile}px`);
    const total = Math.ceil(list.length / across);
    space.style.height = `${total * high - 12}px`;
    grid.setAttribute("aria-rowcount", total);
    grid.setAttribute("aria-colcount", across);
    render();
  }

  function render() {
    const total = Math.ceil(list.length / across);
    const first = Math.max(0, Math.floor(grid.scrollTop / high) - 1);
    const most = Math.floor(MOST / across) - 1; // one row may stay for the focus
    const last = Math.min(total, first + most, Math.ceil((grid.scrollTop + grid.clientHeight) / high) + 1);
    const focused = rows.get(Math.floor(active / across));
    for (const [at, row] of rows) {
      if ((at < first || at >= last) && !(row === focused && row.contains(document.activeElement))) {
        row.remove();
        rows.delete(at);
      }
    }
    for (let at = first; at < last; at++) if (!rows.has(at)) addRow(at);
    const entry = grid.querySelector('[tabindex="0"]');
    if (!entry || Number(entry.dataset.place) !== active) setActive(rows.has(Math.floor(active / across)) ? active : first * across);
  }

  function addRow(at) {
    const row = el("div", { class: "tile-row", role: "row", "aria-rowindex": at + 1 });
    row.style.transform = `translateY(${at * high}px)`;
    for (let place = at * across; place < Math.min(list.length, (at + 1) * across); place++) row.append(addTile(place));
    rows.set(at, row);
    const after = [...rows.keys()].filter((other) => other > at).sort((a, b) => a - b)[0];
    space.insertBefore(row, after === undefined ? null : rows.get(after));
  }

  function addTile(place) {
    const index = list[place];
    const address = thumbOf(columns, index);
    const image = address
      ? el("img", { class: "thumb", src: address, alt: "", decoding: "async" })
      : el("span", { class: "thumb blank" }, "no picture in this page");
    const doubts = columns.doubtful?.[index] ? `${plural(columns.doubtful[index], "doubtful word")} · ` : "";
    const flips = columns.flips[index] === 1 ? el("span", { class: "second" }, "flips with the background") : null;
    const button = el(
      "button",
      { type: "button", class: "tile", tabindex: "-1", "data-place": place, title: columns.name[index] },
      el("span", { class: "thumb-stage" }, image),
      el("span", { class: "verdict" }, answerOf(columns, index)),
      flips ?? el("span", { class: "file" }, doubts, isolated(shortName(columns, index))),
    );
    return el("div", { role: "gridcell", "aria-colindex": (place % across) + 1 }, button);
  }

  function setActive(place, focus = false) {
    grid.querySelector('[tabindex="0"].tile')?.setAttribute("tabindex", "-1");
    active = place;
    const button = grid.querySelector(`[data-place="${place}"]`);
    button?.setAttribute("tabindex", "0");
    if (focus) button?.focus({ preventScroll: true });
  }

  function goTo(place, focus = true) {
    const wanted = Math.min(Math.max(place, 0), list.length - 1);
    const top = Math.floor(wanted / across) * high;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + high > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + high - grid.clientHeight;
    active = wanted;
    render();
    setActive(wanted, focus);
  }

  grid.addEventListener("scroll", () => requestAnimationFrame(render), { passive: true });
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    setActive(Number(tile.dataset.place));
    open(list[active], list, (index) => goTo(list.indexOf(index)));
  });
  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey ? !["Home", "End"].includes(event.key) : event.altKey || event.metaKey) return;
    const row = active - (active % across);
    const page = across * Math.max(1, Math.floor(grid.clientHeight / high));
    const to = {
      ArrowLeft: active - 1,
      ArrowRight: active + 1,
      ArrowUp: active - across,
      ArrowDown: active + across,
      PageUp: active - page,
      PageDown: active + page,
      Home: event.ctrlKey ? 0 : row,
      End: event.ctrlKey ? list.length - 1 : row + across - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if ((event.key === "ArrowUp" && to < 0) || (event.key === "ArrowDown" && to >= list.length && row + across >= list.length)) return;
    goTo(to);
  });
  new ResizeObserver(() => lay()).observe(grid);

  // Sets a filter from outside; the controls follow.
  function show(wanted, goThere = false) {
    filter = { ...wanted };
    for (const [key, control] of Object.entries(controls)) {
      const value = key.startsWith("slice") ? (filter.slice?.[0] === Number(key.slice(5)) ? filter.slice[1] : undefined) : filter[key];
      control.value = value ?? (key === "sort" ? "data" : "");
    }
    refresh();
    onFilter(filter, goThere);
    if (!goThere) return;
    host.scrollIntoView({ block: "start" }); // at once: it may be far
    count.focus({ preventScroll: true });
  }

  host.append(search, el("div", { class: "counted" }, count, reset), grid, none);
  return { show, list: () => list };
}

// A filter as text for the address, and back: classes by their names, which stay when a page is made again.
function filterToState(columns, filter) {
  const state = {};
  if (filter.find) state.find = filter.find;
  for (const key of ["true", "answer"]) if (filter[key] !== undefined) state[key] = columns.classes[filter[key]];
  for (const [key, [yes, no]] of Object.entries(CHOICES)) if (filter[key] !== undefined) state[key] = filter[key] ? yes : no;
  for (const key of ["low", "high", "sort"]) if (filter[key] !== undefined) state[key] = String(filter[key]);
  if (filter.slice) state.slice = `${columns.slices[filter.slice[0]].column}:${columns.slices[filter.slice[0]].values[filter.slice[1]]}`;
  return state;
}

// What is not understood is left out: a link may be of another page.
function filterFromState(columns, state) {
  const filter = {};
  if (state.find) filter.find = state.find;
  for (const key of ["true", "answer"]) {
    const at = columns.classes.indexOf(state[key]);
    if (at >= 0) filter[key] = at;
  }
  for (const [key, [yes, no]] of Object.entries(CHOICES)) if (state[key] === yes || state[key] === no) filter[key] = state[key] === yes ? 1 : 0;
  for (const key of ["low", "high"]) {
    const bound = Number.parseFloat(state[key]);
    if (bound >= 0 && bound <= 1) filter[key] = bound;
  }
  if (Object.hasOwn(SORTS, state.sort ?? "") && state.sort !== "data") filter.sort = state.sort;
  columns.slices.forEach((slice, at) => {
    const code = slice.values.findIndex((value) => `${slice.column}:${value}` === state.slice);
    if (code >= 0) filter.slice = [at, code];
  });
  return filter;
}

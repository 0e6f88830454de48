// What charts say under the pointer and by the arrow keys: curves, reliability, positions.

// Steps through the parts of a chart; a screen reader hears the text of each.
function stepper(host, parts, label, pick, first = 0) {
  let at = first;
  const go = (to) => {
    at = Math.min(Math.max(to, 0), parts.length - 1);
    host.setAttribute("aria-valuenow", at);
    host.setAttribute("aria-valuetext", parts[at]);
    pick(at);
  };
  for (const [key, value] of Object.entries({ role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0, "aria-valuemax": parts.length - 1, "aria-valuenow": at, "aria-valuetext": parts[at] })) {
    host.setAttribute(key, value);
  }
  host.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - 10, PageUp: at + 10, Home: 0, End: parts.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(to);
  });
  host.addEventListener("focus", () => go(at));
  return go;
}

// A chart whose parts have a <title>: the title stands below it, in words, as the pointer or a key goes there.
function readableChart(svg, hits) {
  const texts = hits.map((hit) => hit.querySelector("title").textContent);
  const readout = el("p", { class: "readout", "aria-hidden": "true" });
  const frame = el("div", { class: "readable" });
  svg.replaceWith(frame);
  frame.append(svg, readout);
  const leads = hits.some((hit) => hit.dataset.show);
  const label = svg.getAttribute("aria-label") + (leads ? "; Enter shows the pictures" : "");
  const mark = (at) => {
    hits.forEach((hit, other) => hit.classList.toggle("on", other === at));
    readout.textContent = at === null ? "" : texts[at];
  };
  svg.removeAttribute("role");
  svg.setAttribute("aria-hidden", "true");
  const go = stepper(frame, texts, label, mark);
  hits.forEach((hit, at) => {
    hit.querySelector("title").remove(); // the readout says it: no second one under the pointer
    hit.addEventListener("pointerenter", () => go(at));
    hit.addEventListener("click", () => go(at));
  });
  frame.addEventListener("keydown", (event) => {
    if (event.key === "Enter") hits[Number(frame.getAttribute("aria-valuenow"))].dispatchEvent(new MouseEvent("click"));
  });
  frame.addEventListener("pointerleave", () => document.activeElement !== frame && mark(null));
  frame.addEventListener("focusout", () => mark(null));
  return texts;
}

// The grid of grids, with the tile under the pointer enlarged beside it. Its values are read back from its colours,
// which are those of the bar at its side, 255 of them from high to low.
async function readPositions(svg) {
  const [whole, bar] = [...svg.querySelectorAll("image")];
  const image = new Image();
  const ramp = new Image();
  image.src = whole.getAttribute("href");
  ramp.src = bar.getAttribute("href");
  await Promise.all([image.decode(), ramp.decode()]);
  const { rows, columns, low, high } = Object.fromEntries(["rows", "columns", "low", "high"].map((key) => [key, Number(svg.dataset[key])]));
  const pixelsOf = (picture) => {
    const canvas = el("canvas", { width: picture.width, height: picture.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    return context.getImageData(0, 0, picture.width, picture.height).data;
  };
  const levels = new Map();
  const colours = pixelsOf(ramp); // a pixel wide
  const keyAt = (data, at) => (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
  for (let i = 0; i < ramp.height; i++) levels.set(keyAt(colours, 4 * i), ramp.height - 1 - i);
  const pixels = pixelsOf(image);
  const valueAt = (row, column, r, c) => {
    const at = 4 * ((row * (rows + 1) + r) * image.width + column * (columns + 1) + c);
    return low + ((high - low) * (levels.get(keyAt(pixels, at)) ?? 0)) / (ramp.height - 1);
  };
  const tile = el("canvas", { class: "tile-large", width: columns, height: rows, "aria-hidden": "true" });
  const readout = el("p", { class: "readout", "aria-hidden": "true" });
  const aside = el("div", { class: "enlarged" }, tile, readout);
  const outline = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  outline.setAttribute("class", "outline");
  outline.setAttribute("width", columns);
  outline.setAttribute("height", rows);
  const frame = svg.closest(".scroll");
  frame.after(aside);
  svg.append(outline);
  svg.removeAttribute("role");
  svg.setAttribute("aria-hidden", "true");
  let here = [Math.floor(rows / 2), Math.floor(columns / 2)];

  function alike(row, column) {
    let best = [-Infinity, 0, 0];
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      if (r === row && c === column) continue;
      const value = valueAt(row, column, r, c);
      if (value > best[0]) best = [value, r, c];
    }
    return best;
  }
  function go(row, column) {
    here = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
    const [r, c] = here;
    outline.setAttribute("x", c * (columns + 1));
    outline.setAttribute("y", r * (rows + 1));
    const pen = tile.getContext("2d");
    pen.clearRect(0, 0, columns, rows);
    pen.drawImage(image, c * (columns + 1), r * (rows + 1), columns, rows, 0, 0, columns, rows);
    const [value, row2, column2] = alike(r, c);
    const text = rows * columns > 1 ? `row ${r}, column ${c}: most alike is row ${row2}, column ${column2} (${value.toFixed(2)})` : `row ${r}, column ${c}`;
    readout.textContent = text;
    frame.setAttribute("aria-valuenow", r * columns + c);
    frame.setAttribute("aria-valuetext", text);
  }
  for (const [key, value] of Object.entries({ role: "slider", "aria-label": svg.getAttribute("aria-label"), "aria-valuemin": 0, "aria-valuemax": rows * columns - 1 })) frame.setAttribute(key, value);
  go(...here);
  frame.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    go(here[0] + by[0], here[1] + by[1]);
  });
  const point = (event) => {
    const box = whole.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * image.width / (columns + 1));
    const row = Math.floor(((event.clientY - box.top) / box.height) * image.height / (rows + 1));
    if (row >= 0 && row < rows && column >= 0 && column < columns) go(row, column);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
}

function startCharts() {
  for (const svg of document.querySelectorAll("svg.chart")) {
    const hits = [...svg.querySelectorAll("g")].filter((each) => each.querySelector(":scope > title"));
    if (hits.length) readableChart(svg, hits);
  }
  for (const svg of document.querySelectorAll("svg.grid-of-grids")) readPositions(svg);
}

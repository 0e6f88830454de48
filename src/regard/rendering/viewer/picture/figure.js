// What is on screen as one PNG, drawn anew: the picture or the two, what they are, what was measured, and where it is from.

const FIGURE_WIDTH = 1600;
const FIGURE_MARGIN = 48;

// The lines below the figure: [text, "title" | "plain" | "small"].
function figureLines(view) {
  const { inspection, map, shown } = view.panes[0];
  const lines = [];
  if (view.panes.length === 1) lines.push([mapTitle(shown), "title"]);
  else lines.push([view.panes.map((pane) => pane.label).join("   |   "), "title"]);
  const answer = answerSentence(inspection);
  lines.push([`${inspection.name}. ${answer}`, "plain"]);
  if (view.panes.length === 1 && mapExplained(shown)) lines.push([mapExplained(shown), "plain"]);
  const share = view.state.keep ?? view.state.out;
  const mode = view.state.out === null ? "keep" : "out";
  if (share !== null && map.entry?.curve && !view.state.blind) {
    const name = shortClass(curveClass(inspection, map.entry) ?? "its class");
    const random = map.entry.method === "random" ? null : randomCurve(inspection, map.entry);
    const beside = random ? ` ${randomSentence(scrubReading(random, mode, share))}` : "";
    lines.push([scrubSentence(mode, share, name, scrubReading(map.entry.curve, mode, share)) + beside, "plain"]);
  }
  for (const pane of view.panes.length > 1 && view.state.blind ? [] : view.panes) {
    const judged = mapVerdict(pane.shown);
    const before = view.panes.length > 1 ? `${pane.label}: ` : "";
    if (judged.text) lines.push([before + (judged.status ? `Audit: ${judged.status}; ${judged.text}` : judged.text), "small"]);
  }
  lines.push([provenanceText(view), "small"]);
  return lines;
}

function provenanceText(view) {
  const texts = view.panes.map(({ inspection }) => provenanceLine(inspection));
  return [...new Set(texts)].join(" | ");
}

function provenanceLine(inspection) {
  const { provenance = {} } = inspection;
  const told = (value) => ["string", "number"].includes(typeof value) && value !== inspection.network.name;
  const plain = Object.entries(provenance).filter(([, value]) => told(value));
  const short = (value) => String(value).replace(/^([0-9a-f]{12})[0-9a-f]{12,}$/, "$1…"); // of a hash, its beginning
  const facts = plain.map(([name, value]) => `${name.replaceAll("_", " ")} ${short(value)}`);
  return [inspection.network.name, ...facts].join(" · ");
}

// Draws the figure; a canvas.
function drawFigure(view) {
  const two = view.panes.length > 1 && view.layout === "side";
  const [high, wide] = view.panes[0].inspection.grid.picture;
  const inner = FIGURE_WIDTH - 2 * FIGURE_MARGIN;
  const gap = two ? 24 : 0;
  const most = two ? 1100 : 1300;
  const each = Math.min((inner - gap) / (two ? 2 : 1), (most * wide) / high);
  const tall = (each * high) / wide;
  const canvas = document.createElement("canvas");
  canvas.width = FIGURE_WIDTH;
  const context = canvas.getContext("2d");
  const lines = figureLines(view).flatMap(([text, kind]) => wrapped(context, text, kind, inner));
  const textHeight = lines.reduce((sum, [, kind]) => sum + FIGURE_FONTS[kind].line, 0);
  canvas.height = Math.round(2 * FIGURE_MARGIN + tall + 28 + textHeight);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const first = FIGURE_MARGIN + (inner - (two ? 2 * each + gap : each)) / 2;
  if (view.panes.length > 1 && !two) drawFigureSwipe(context, view, first, each, tall);
  else view.panes.forEach((pane, place) => drawFigurePane(context, view, place, first + place * (each + gap), each, tall));
  let baseline = FIGURE_MARGIN + tall + 28;
  context.textBaseline = "top";
  for (const [text, kind] of lines) {
    context.font = FIGURE_FONTS[kind].font;
    context.fillStyle = FIGURE_FONTS[kind].colour;
    context.fillText(text, FIGURE_MARGIN, baseline);
    baseline += FIGURE_FONTS[kind].line;
  }
  return canvas;
}

const FIGURE_FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';
const FIGURE_FONTS = {
  title: { font: `600 34px ${FIGURE_FAMILY}`, line: 46, colour: "#1b1d22" },
  plain: { font: `25px ${FIGURE_FAMILY}`, line: 36, colour: "#1b1d22" },
  small: { font: `20px ${FIGURE_FAMILY}`, line: 29, colour: "#5c616b" },
};

function wrapped(context, text, kind, width) {
  context.font = FIGURE_FONTS[kind].font;
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && context.measureText(longer).width > width) {
      lines.push([line, kind]);
      line = word;
    } else line = longer;
  }
  return [...lines, [line, kind]];
}

function drawFigurePane(context, view, pane, left, width, height) {
  context.save();
  context.translate(left, FIGURE_MARGIN);
  context.beginPath();
  context.rect(0, 0, width, height);
  context.clip();
  const place = placement(view.panes[pane].inspection.grid.picture, width, height, view.state);
  paintPane(context, view, pane, place, { cursor: null, paper: "light" }); // a figure has no pointer
  context.restore();
}

function drawFigureSwipe(context, view, left, width, height) {
  const cut = (view.state.cut / 100) * width;
  [0, 1].forEach((pane) => {
    context.save();
    context.beginPath();
    context.rect(left + (pane ? cut : 0), FIGURE_MARGIN, pane ? width - cut : cut, height);
    context.clip();
    drawFigurePane(context, view, pane, left, width, height);
    context.restore();
  });
  context.fillStyle = "#fff";
  context.fillRect(left + cut - 2, FIGURE_MARGIN, 4, height);
}

function figureBlob(view) {
  return new Promise((resolve) => drawFigure(view).toBlob(resolve, "image/png"));
}

function figureName(view) {
  const stem = view.panes[0].inspection.name.split(/[\\/]/).at(-1).replace(/\.[^.]*$/, "");
  const title = view.state.blind ? "blind" : mapTitle(view.panes[0].shown);
  return `${stem} ${title}`.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 100) + ".png";
}

function makeActions(view) {
  const status = el("span", { class: "note", role: "status" });
  const tell = (text) => {
    setText(status, text);
    clearTimeout(tell.timer);
    tell.timer = setTimeout(() => setText(status, ""), 4000);
  };
  async function save() {
    const address = URL.createObjectURL(await figureBlob(view));
    el("a", { href: address, download: figureName(view) }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    tell("Saved.");
  }
  async function copy() {
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": figureBlob(view) })]);
      tell("Copied.");
    } catch {
      tell("The browser does not let this page copy pictures; save it instead.");
    }
  }
  async function link() {
    try {
      await navigator.clipboard.writeText(location.href);
      tell("Link copied.");
    } catch {
      tell("The browser does not let this page copy; the link is in the address bar.");
    }
  }
  const button = (text, title, act) => el("button", { type: "button", title, onclick: act }, text);
  const tool = (text, label, act) => el("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
  const whole = tool("⤢", "Whole picture", () => view.change({ zoom: 1, x: 0.5, y: 0.5 }));
  const smaller = tool("−", "Zoom out", () => view.zoomBy(1 / 1.5));
  const larger = tool("+", "Zoom in", () => view.zoomBy(1.5));
  const zooms = el("span", { class: "look-zooms", role: "group", "aria-label": "Zoom" }, smaller, larger, whole);
  const element = el(
    "div",
    { class: "look-tools" },
    zooms,
    button("Save picture", "Save what is shown as PNG, with its caption (S)", save),
    button("Copy picture", "Copy what is shown as PNG", copy),
    view.linked ? button("Copy link", "Copy a link to just this view", link) : null,
    el("button", { type: "button", class: "look-keys-button", title: "What the keys do (?)", onclick: () => view.help() }, "Keys"),
    status,
  );
  const update = () => (whole.disabled = smaller.disabled = view.state.zoom === 1);
  return { element, update, hovered: update, save };
}

// The foot: network, weights, versions, as the file has them.
function makeProvenance(view) {
  const list = el("dl", {});
  const element = el("details", { class: "look-provenance" }, el("summary", {}), list);
  let drawn = null;
  const flat = (value, name = "") => {
    if (value === null || value === undefined) return [];
    if (typeof value !== "object") return [[name, String(value)]];
    return Object.entries(value).flatMap(([key, each]) => flat(each, name ? `${name} ${key}` : key));
  };
  const part = { element };
  part.update = () => {
    const { inspection } = view.panes[0];
    if (drawn === inspection) return;
    drawn = inspection;
    setText(element.firstChild, `Where this is from: ${provenanceLine(inspection)}`);
    const rows = [["picture", inspection.name], ["network", inspection.network.name], ...flat(inspection.provenance)];
    const absent = Object.entries(inspection.absent ?? {}).map(([name, reason]) => [`not held: ${name}`, String(reason)]);
    list.replaceChildren(...[...rows, ...absent].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("bdi", {}, value)))));
  };
  return part;
}

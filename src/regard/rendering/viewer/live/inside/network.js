// The second source of answers: the network in the page itself, at work in a worker. What comes of it is an inspection,
// as a server's answer is. No request leaves the page; a folder's page fetches its own two files.

const { inside } = pageIndex;
const MOST_CLASSES = 40; // of more classes those are held that the answer names
const BEST = 5;
let askNumber = 0;
let insideWorker = null; // a promise of { ask }
let insideAnswer = null; // { file, result }: another class of the same picture asks nothing anew

// What this browser lacks for it, as a sentence; "" where it has all.
function lackingText() {
  const parts = [
    [typeof WebAssembly === "object", "WebAssembly (in some it is turned off by a lockdown or strict mode)"],
    [typeof DecompressionStream === "function", "DecompressionStream"],
    [typeof OffscreenCanvas === "function", "OffscreenCanvas"],
    [typeof Worker === "function", "workers"],
  ];
  const lacking = parts.filter(([there]) => !there).map(([, name]) => name);
  if (!lacking.length) return "";
  return `The network cannot run here: this browser lacks ${lacking.join(" and ")}. Open the page in a recent Chrome, Edge, Firefox or Safari.`;
}

// A part of the page, once all of it has come: { text } of a block that stands in it, or { address, integrity } of a file.
function partOf({ id, length, address, integrity }) {
  if (address) return { address: new URL(address, document.baseURI).href, integrity };
  const text = document.getElementById(id)?.textContent ?? "";
  if (text.length !== length) throw new Error("A part of this page is missing: the file was probably cut off. Copy it again.");
  return { text };
}

function whenLoaded() {
  if (document.readyState === "complete") return Promise.resolve();
  return new Promise((done) => window.addEventListener("load", done, { once: true }));
}

async function startInside() {
  await whenLoaded();
  const lacking = lackingText();
  if (lacking) throw new Error(lacking);
  if (location.protocol === "file:" && inside.network.address) {
    throw new Error("This page lies in a folder, whose files a browser reads from a server only: run `python -m http.server` there and open the address that it prints, or export with --single.");
  }
  const code = document.getElementById("inside-code").textContent;
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const worker = new Worker(address);
  const asked = new Map(); // id -> { done, failed, onStage }
  worker.onmessage = ({ data }) => {
    const one = asked.get(data.id);
    if (!one) return;
    if (data.stage) return one.onStage?.(data.stage);
    asked.delete(data.id);
    if (data.error === undefined) one.done(data.result);
    else one.failed(new Error(data.plain ? data.error : `The network could not answer (${data.name}: ${data.error}). Reload the page; where that does not help, the file is damaged.`));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    const error = new Error("This browser does not let the page start a worker, in which the network runs; open it in another browser.");
    for (const { failed } of asked.values()) failed(error);
    asked.clear();
  };
  const ask = (message, onStage = null) =>
    new Promise((done, failed) => {
      askNumber += 1;
      asked.set(askNumber, { done, failed, onStage });
      worker.postMessage({ id: askNumber, ...message });
    });
  const { preparation, input } = inside;
  await ask({ kind: "start", runtime: partOf(inside.runtime), network: partOf(inside.network), settings: { preparation, input } });
  URL.revokeObjectURL(address);
  return { ask };
}

// Starts it where it does not run yet; one that failed is tried anew.
function insideReady() {
  insideWorker ??= startInside().catch((error) => {
    insideWorker = null;
    throw error;
  });
  return insideWorker;
}

// A map's bytes and ends, as an inspection holds them: `values` are (..., rows, columns).
function quantisedArray(name, shape, values, power) {
  const size = shape.at(-1) * shape.at(-2);
  const count = values.length / size;
  const [low, high] = [new Float32Array(count), new Float32Array(count)];
  const levels = new Uint8Array(values.length);
  for (let map = 0; map < count; map++) {
    const part = values.subarray(map * size, (map + 1) * size);
    [low[map], high[map]] = limitsOf(part, false);
    const extent = high[map] - low[map];
    part.forEach((value, patch) => {
      const place = extent > 0 ? (value - low[map]) / extent : 0;
      levels[map * size + patch] = Math.round(255 * (power === 2 ? Math.sqrt(place) : place));
    });
  }
  return { name, shape, count, size, low, high, levels, power };
}

function chances(logits) {
  const most = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

// What the viewer shows, of the outputs for one picture.
function insideInspection(file, { outputs, drawn, picture, box }, target) {
  const { classes } = inside;
  const shares = chances(outputs.logits.data);
  const order = shares.map((_, index) => index).sort((a, b) => shares[b] - shares[a] || a - b);
  const best = order.slice(0, BEST);
  const asked = target === "" ? [] : [classes.indexOf(target)];
  const rest = classes.length <= MOST_CLASSES ? order : best;
  const { rows, columns } = inside.grid;
  const patches = rows * columns;
  const arrayCache = new Map();
  const layers = {};
  const maps = [];
  const entry = (method, more) => maps.push({ ...method, against: null, curve: null, curves: {}, control: false, target: null, index: 0, ...more });
  for (const method of inside.methods) {
    if (method.output === "attention") {
      const { data, shape } = outputs.attention;
      const [, count, heads] = shape;
      arrayCache.set("cls", quantisedArray("cls", [count, heads, rows, columns], data, 2));
      layers.cls = inside.layers;
      const last = data.subarray((count - 1) * heads * patches);
      const mean = Float32Array.from({ length: patches }, (_, patch) => {
        let sum = 0;
        for (let head = 0; head < heads; head++) sum += last[head * patches + patch];
        return sum / heads;
      });
      arrayCache.set("maps", quantisedArray("maps", [1, rows, columns], mean, 2));
      entry(method, { array: "maps" });
    } else {
      const all = outputs.map.shape[1] > 1; // of very many classes the graph gives the predicted one's alone
      const held = all ? [...new Set([...asked, ...rest])] : [order[0]];
      const mapOf = (row) => outputs.map.data.subarray(row * patches, (row + 1) * patches);
      const values = new Float32Array(held.length * patches);
      held.forEach((index, place) => values.set(mapOf(all ? index : 0), place * patches));
      arrayCache.set("signed_maps", quantisedArray("signed_maps", [held.length, rows, columns], values, 1));
      held.forEach((index, place) => entry(method, { array: "signed_maps", index: place, target: classes[index] }));
    }
  }
  const probabilities = best.map((index) => [classes[index], shares[index]]);
  return {
    name: file.name || "a pasted picture",
    grid: { ...inside.grid, picture, box },
    network: { ...inside.about, heads: outputs.attention?.shape[2] ?? 0 },
    classes: [],
    answer: { probabilities, predicted: classes[best[0]], runner_up: classes[best[1]] ?? null, true: null, seen: false, flips: null },
    ...{ arrays: [], arrayCache, layers, maps, keys: null, lens: null, artifacts: null, caption: null },
    absent: inside.absent,
    provenance: inside.provenance,
    picture: { height: picture[0], width: picture[1], image: null },
    bitmap: Promise.resolve(drawn),
  };
}

function unlessAborted(promise, signal) {
  return new Promise((done, failed) => {
    signal.addEventListener("abort", () => failed(new Error("cancelled")), { once: true });
    promise.then(done, failed);
  });
}

askInspection = async (fields, file, signal, onStage) => {
  onStage({ stage: "unpacking the network", total: 1 });
  const { ask } = await unlessAborted(insideReady(), signal);
  const start = performance.now();
  if (insideAnswer?.file !== file) {
    const result = await unlessAborted(ask({ kind: "look", file }, (stage) => onStage({ stage, total: 1 })), signal);
    insideAnswer = { file, result };
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(2);
  return { inspection: insideInspection(file, insideAnswer.result, fields.target ?? ""), notes: [`Answered in ${seconds} s on this computer.`] };
};

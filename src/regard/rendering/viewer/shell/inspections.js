// Reads inspections (docs/inspections.md): the blocks of the page, or, where a server gave it, what an address gives.

const MOST_HELD = 12; // inspections that stay unpacked, the most recently looked at
const heldInspections = new Map(); // reference -> promise; the last is the most recent
const PREFIX_TOKEN = 65535;
let fetchInspection = null; // (address) => promise of bytes; a served page sets it
const droppedInspections = new Map(); // "live:1" -> bytes, or the inspection itself: of pictures that came into the page
// What a live page has answers from, a server or the network in the page: (fields, file, signal, onStage) => promise of
// { inspection: bytes, or the inspection itself; notes }.
let askInspection = null;

// What the page holds beside its inspections; empty where there is nothing or where it was damaged.
const pageIndex = readIndex();

function readIndex() {
  const element = document.getElementById("data");
  if (!element) return {};
  try {
    return JSON.parse(element.textContent);
  } catch {
    showProblem("The list of this page's pictures is damaged: the file was probably cut off. Copy it again.");
    return {};
  }
}

// Says in the page what is wrong, once.
function showProblem(message) {
  let list = document.getElementById("problems");
  if (!list) {
    list = document.createElement("ul");
    list.id = "problems";
    list.className = "messages";
    list.setAttribute("role", "alert");
    document.getElementById("content").prepend(list);
  }
  if ([...list.children].some((item) => item.textContent === message)) return;
  const item = document.createElement("li");
  item.textContent = message;
  list.append(item);
}

// An inspection by the number of its block, or by its address; one that cannot be read is said in the page and thrown.
function inspectionOf(reference) {
  let promise = heldInspections.get(reference);
  heldInspections.delete(reference);
  if (!promise) {
    promise = loadInspection(reference).catch((error) => {
      heldInspections.delete(reference);
      showProblem(error.message);
      throw error;
    });
  }
  heldInspections.set(reference, promise);
  while (heldInspections.size > MOST_HELD) {
    const [oldest, old] = heldInspections.entries().next().value;
    heldInspections.delete(oldest);
    old.then(releasePicture, () => {});
  }
  return promise;
}

// The name of the picture that an inspection is of; the index has a row for each picture, or columns of them.
function nameOfInspection(reference) {
  const { pictures = [] } = pageIndex;
  if (Array.isArray(pictures)) return pictures.find((picture) => picture.inspections?.includes(reference))?.name;
  const row = pictures.inspections?.findIndex?.((each) => each === reference || each?.includes?.(reference)) ?? -1;
  return pictures.name?.[row];
}

async function loadInspection(reference) {
  const name = nameOfInspection(reference) ?? "a picture";
  const advice = "the file was probably cut off. Copy it again.";
  try {
    const stored = typeof reference === "number" ? blockBytes(reference) : null;
    const packed = stored ?? droppedInspections.get(reference) ?? (await fetchInspection(reference));
    return packed instanceof Uint8Array ? readInspection(await inflated(packed)) : packed;
  } catch (error) {
    throw new Error(error.plain ? `${name}: ${error.message}` : `What was stored of ${name} cannot be read: ${advice}`);
  }
}

function blockBytes(index) {
  return bytesOf(document.querySelector(`script.inspection[data-index="${index}"]`).textContent);
}

// The bytes of a text in base64.
function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length); // a plain loop: Uint8Array.from would take ten times as long
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The header with `data`, its binary. What was damaged without being cut is found by the checksum.
function readInspection(bytes) {
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(4, 4 + length)));
  if (header.format !== "regard-inspection") throw new Error("another format");
  if (header.version > 1) {
    const error = new Error("it was written by a newer regard than this page; write the page again.");
    error.plain = true;
    throw error;
  }
  const data = bytes.subarray(Math.ceil((4 + length) / 8) * 8);
  if (data.length !== header.size || checksum(data) !== header.crc32) throw new Error("damaged");
  return Object.assign(header, { data, arrayCache: new Map() });
}

let checksumTable = null;
function checksum(bytes) {
  checksumTable ??= Uint32Array.from({ length: 256 }, (_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
    return n;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = checksumTable[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// An array by name: its levels, a byte a patch, and the ends of each of its maps; null where the inspection has none.
function readArray(inspection, name) {
  const held = inspection.arrayCache.get(name);
  if (held !== undefined) return held;
  const entry = inspection.arrays.find((array) => array.name === name);
  let array = null;
  if (entry) {
    const size = entry.shape.slice(-2).reduce((a, b) => a * b, 1);
    const count = entry.shape.slice(0, -2).reduce((a, b) => a * b, 1);
    const start = inspection.data.byteOffset + entry.start;
    const low = new Float32Array(inspection.data.buffer, start, count);
    const high = new Float32Array(inspection.data.buffer, start + 4 * count, count);
    const levels = new Uint8Array(inspection.data.buffer, start + 8 * count, count * size);
    array = { name, shape: entry.shape, count, size, low, high, levels, power: entry.transform === "sqrt" ? 2 : 1 };
  }
  inspection.arrayCache.set(name, array);
  return array;
}

// What a byte stands for: of map number `map` of an array (counted through all its leading axes), at `patch`.
function valueAt(array, map, patch) {
  const place = array.levels[map * array.size + patch] / 255;
  return array.low[map] + (array.high[map] - array.low[map]) * (array.power === 2 ? place * place : place);
}

// (patches) one map of an array, as numbers.
function mapValues(array, map) {
  return Float32Array.from({ length: array.size }, (_, patch) => valueAt(array, map, patch));
}

// (patches) what the network's head reads of each patch in a layer: by one head, or, for null, the mean over all heads;
// null where the inspection does not hold it. `name` may be "cls_repaired": after repair.
function readerMap(inspection, layer, head = null, name = "cls") {
  const array = readArray(inspection, name);
  const row = inspection.layers?.[name]?.indexOf(layer) ?? -1;
  if (array && row >= 0) {
    const heads = array.shape[1];
    if (head !== null) return head < heads ? mapValues(array, row * heads + head) : null;
    const mean = new Float32Array(array.size);
    for (let each = 0; each < heads; each++) {
      for (let patch = 0; patch < mean.length; patch++) mean[patch] += valueAt(array, row * heads + each, patch) / heads;
    }
    return mean;
  }
  const means = name === "cls" && head === null ? readArray(inspection, "cls_mean") : null;
  const place = inspection.layers?.cls_mean?.indexOf(layer) ?? -1;
  return means && place >= 0 ? mapValues(means, place) : null;
}

// (patches) what one patch reads in the last layer, and what each patch reads of it; null where that is not held.
function patchMap(inspection, patch) {
  const array = readArray(inspection, "patches");
  return array && mapValues(array, patch);
}

function lookersAt(inspection, patch) {
  const array = readArray(inspection, "patches");
  return array && Float32Array.from({ length: array.size }, (_, query) => valueAt(array, query, patch));
}

// The strongest keys of a patch in a layer other than the last, as [{ patch (null: a token outside the picture),
// weight }], the strongest first; null where they are not held.
function keysOf(inspection, layer, patch) {
  const { keys, data, grid } = inspection;
  const row = keys ? keys.layers.indexOf(layer) : -1;
  if (row < 0) return null;
  const first = (row * grid.rows * grid.columns + patch) * keys.count;
  const view = new DataView(data.buffer, data.byteOffset);
  return Array.from({ length: keys.count }, (_, place) => {
    const index = view.getUint16(keys.indices + 2 * (first + place), true);
    const share = data[keys.weights + first + place] / 255;
    return { patch: index === PREFIX_TOKEN ? null : index, weight: share * share * keys.highest[row] };
  });
}

// The class that a patch's token would be read as behind a layer, { name, probability }; null where that is not held.
function lensOf(inspection, layer, patch) {
  const { lens, data, grid, classes } = inspection;
  const row = lens ? lens.layers.indexOf(layer) : -1;
  if (row < 0) return null;
  const place = row * grid.rows * grid.columns + patch;
  const index = new DataView(data.buffer, data.byteOffset).getUint16(lens.classes + 2 * place, true);
  return { name: classes[index], probability: data[lens.probabilities + place] / 255 };
}

// (patches) the values of an entry of `inspection.maps`.
function methodMap(inspection, entry) {
  return mapValues(readArray(inspection, entry.array), entry.index);
}

// An address of the picture, for an <img> or a canvas; null where there is none. It holds until the inspection goes.
function pictureAddress(inspection) {
  const image = inspection.picture.image;
  if (!image) return null;
  inspection.address ??= URL.createObjectURL(
    new Blob([inspection.data.subarray(image.start, image.start + image.length)], { type: image.type }),
  );
  return inspection.address;
}

function releasePicture(inspection) {
  if (inspection.address) URL.revokeObjectURL(inspection.address);
}

// The address of a picture's thumbnail: the index's, or that of the picture that stands in the page for where no script
// runs, which the page may have taken out since.
const stillPictures = new Map(
  [...document.querySelectorAll(".still[data-picture]")].map((still) => [
    Number(still.dataset.picture),
    still.querySelector("img.picture")?.src ?? null,
  ]),
);
function thumbAddress(picture) {
  const { pictures } = pageIndex;
  return pictures?.[picture]?.thumb ?? pictures?.thumb?.[picture] ?? stillPictures.get(picture) ?? null;
}

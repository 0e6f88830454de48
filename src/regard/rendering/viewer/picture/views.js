// What can be shown of an inspection. A spec says what: { run, map, of, vs, layer, head, repaired }; a shown map has its
// values and all that is known of it.

const ATTENTION = "attention";
const MOST_SHOWN = 150; // maps that stay computed, with their canvases

// The methods of an inspection, attention with its layers and heads first: [{ id, label, entries, control, layered }].
function mapGroups(inspection) {
  if (inspection.groups) return inspection.groups;
  const groups = new Map();
  const layered = attentionLayers(inspection).length > 0;
  const add = (id, more) => groups.set(id, { id, entries: [], control: false, layered: false, ...more });
  if (layered) add(ATTENTION, { label: "Attention", method: ATTENTION, layered: true });
  for (const entry of inspection.maps) {
    const { target, against, ...rest } = entry.settings ?? {};
    const settings = JSON.stringify(rest);
    let id = entry.method;
    for (let copy = 2; groups.has(id) && (groups.get(id).settings ?? settings) !== settings; copy++) {
      id = `${entry.method}-${copy}`; // the same method with other settings
    }
    if (!groups.has(id)) add(id, { label: groupLabel(entry, id, rest), method: entry.method, control: entry.control });
    const group = groups.get(id);
    group.settings ??= settings;
    group.description ??= entry.description;
    group.entries.push(entry);
  }
  inspection.groups = [...groups.values()];
  return inspection.groups;
}

function groupLabel(entry, id, settings) {
  const plain = entry.label ?? entry.method;
  const label = plain[0].toUpperCase() + plain.slice(1);
  if (id === entry.method) return label;
  const words = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  return `${label} (${words.join(", ")})`;
}

function attentionLayers(inspection) {
  const { cls = [], cls_mean: means = [] } = inspection.layers ?? {};
  return [...new Set([...cls, ...means])].sort((a, b) => a - b);
}

function lastLayer(inspection) {
  return (inspection.network.layers ?? 1) - 1;
}

// Why the file does not hold something: the first of these names that has a reason.
function absentReason(inspection, ...names) {
  for (const name of names) if (inspection.absent?.[name]) return inspection.absent[name];
  return "this file does not hold it";
}

function answerClass(inspection) {
  return inspection.answer?.predicted ?? null;
}

// The classes that a group has maps of.
function groupClasses(group) {
  return [...new Set(group.entries.filter((entry) => entry.against == null).map((entry) => entry.target))].filter(
    (name) => name !== null && name !== undefined,
  );
}

// The spec with everything in it that can be chosen, and nothing that cannot.
function completeSpec(inspection, spec) {
  const groups = mapGroups(inspection);
  const first = groups.find((group) => !group.control) ?? groups[0];
  const group = groups.find((each) => each.id === spec.map) ?? first;
  const whole = { run: spec.run ?? 0, map: group?.id ?? ATTENTION, of: null, vs: null, layer: null, head: null };
  whole.repaired = false;
  if (!group) return whole;
  if (group.layered) {
    const { layers, heads } = inspection.network;
    whole.layer = Number.isInteger(spec.layer) && spec.layer < layers ? spec.layer : lastLayer(inspection);
    whole.head = Number.isInteger(spec.head) && spec.head < heads ? spec.head : null;
    whole.repaired = Boolean(spec.repaired && readArray(inspection, "cls_repaired"));
    return whole;
  }
  const classes = groupClasses(group);
  if (classes.length) {
    const usual = classes.includes(answerClass(inspection)) ? answerClass(inspection) : classes[0];
    whole.of = spec.of ?? usual;
    whole.vs = spec.vs && spec.vs !== whole.of ? spec.vs : null;
  }
  return whole;
}

function specKey(spec) {
  return [spec.map, spec.of, spec.vs, spec.layer, spec.head, spec.repaired].join("|");
}

// A spec in one value of the hash: "gradcam;of=cat;vs=dog".
function specText(spec) {
  const parts = [spec.map];
  if (spec.run) parts.push(`run=${spec.run}`);
  for (const name of ["of", "vs", "layer", "head"]) {
    if (spec[name] !== null && spec[name] !== undefined) parts.push(`${name}=${encodeURIComponent(spec[name])}`);
  }
  if (spec.repaired) parts.push("repaired=1");
  return parts.join(";");
}

function specOfText(text) {
  const [map, ...parts] = text.split(";");
  const pairs = parts.map((part) => part.split("="));
  return specOf({ map, ...Object.fromEntries(pairs.map(([name, value = ""]) => [name, decoded(value)])) });
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// A spec from texts, as the hash has them.
function specOf(texts) {
  const number = (text) => (/^\d+$/.test(text ?? "") ? Number(text) : null);
  return {
    run: number(texts.run) ?? 0,
    map: texts.map ?? null,
    of: texts.of ?? null,
    vs: texts.vs ?? null,
    layer: number(texts.layer),
    head: number(texts.head),
    repaired: texts.repaired === "1",
  };
}

function keptMap(inspection, key, make) {
  const held = (inspection.shownMaps ??= new Map());
  let map = held.get(key);
  if (map) held.delete(key);
  else map = { key, ...gridOf(inspection), ...make() };
  held.set(key, map); // the most recent is last
  if (held.size > MOST_SHOWN) held.delete(held.keys().next().value);
  return map;
}

function gridOf(inspection) {
  const { rows, columns, box, picture, prefix } = inspection.grid;
  return { rows, columns, box, picture, prefix, inspection };
}

// The map of a complete spec; where the file does not hold it, `missing` says why and `values` is null.
function shownMap(inspection, spec) {
  return keptMap(inspection, specKey(spec), () => {
    const group = mapGroups(inspection).find((each) => each.id === spec.map);
    if (!group) return { spec, group: null, values: null, missing: absentReason(inspection, "maps", "cls") };
    const made = group.layered ? layeredMap(inspection, group, spec) : classMap(inspection, group, spec);
    return { spec, group, signed: false, entry: null, rest: null, missing: "", ...made };
  });
}

function layeredMap(inspection, group, spec) {
  const usual = !spec.repaired && spec.head === null;
  const entry = usual ? group.entries.find((each) => entryLayer(inspection, each) === spec.layer) : null;
  let values = readerMap(inspection, spec.layer, spec.head, spec.repaired ? "cls_repaired" : "cls");
  if (!values && entry) values = methodMap(inspection, entry);
  if (!values) {
    const names = spec.repaired ? ["cls_repaired"] : spec.head === null ? ["cls", "cls_mean"] : ["heads", "cls"];
    return { values: null, missing: absentReason(inspection, ...names) };
  }
  let sum = 0;
  for (const value of values) sum += value;
  return { values, entry: entry ?? null, rest: Math.max(0, 1 - sum) };
}

function entryLayer(inspection, entry) {
  const { layer = "last", head = "mean", query = "CLS" } = entry.settings ?? {};
  if (head !== "mean" && head !== null) return null;
  if (!["CLS", "pooling"].includes(query)) return null;
  return layer === "last" || layer === null ? lastLayer(inspection) : layer;
}

function classMap(inspection, group, spec) {
  const find = (target, against) =>
    group.entries.find((each) => (each.target ?? null) === target && (each.against ?? null) === against);
  const entry = find(spec.of, spec.vs);
  if (entry) return { values: methodMap(inspection, entry), entry, signed: entry.signed };
  const one = find(spec.of, null);
  const other = spec.vs === null ? null : find(spec.vs, null);
  if (!one || !other) {
    return { values: null, signed: group.entries[0].signed, missing: absentReason(inspection, "classes", "maps") };
  }
  const values = methodMap(inspection, one);
  const less = methodMap(inspection, other);
  for (let patch = 0; patch < values.length; patch++) values[patch] -= less[patch];
  return { values, signed: true, difference: true };
}

// What a patch looks at ("to") or what looks at it ("from"), mean over the heads of a layer. In other layers than the
// last only the eight strongest are held; where none are, the last layer stands in and `note` says so.
function patchShown(inspection, layer, patch, way) {
  return keptMap(inspection, `patch|${layer}|${patch}|${way}`, () => {
    const last = lastLayer(inspection);
    const common = { signed: false, rest: null, missing: "", note: "", passing: true, patch, way, layer };
    if (layer !== last) {
      const values = way === "to" ? keysMap(inspection, layer, patch) : lookersMap(inspection, layer, patch);
      if (values) return { ...common, values, note: "only the eight strongest of each patch are held in this layer" };
    }
    const values = way === "to" ? patchMap(inspection, patch) : lookersAt(inspection, patch);
    if (!values) return { ...common, values: null, missing: absentReason(inspection, "patches", "keys") };
    const note = layer === last ? "" : `layer ${last}: of layer ${layer}, ${absentReason(inspection, "keys")}`;
    return { ...common, values, layer: last, note };
  });
}

function keysMap(inspection, layer, patch) {
  const keys = keysOf(inspection, layer, patch);
  if (!keys) return null;
  const values = new Float32Array(inspection.grid.rows * inspection.grid.columns);
  for (const key of keys) if (key.patch !== null) values[key.patch] = key.weight;
  return values;
}

function lookersMap(inspection, layer, patch) {
  const lookers = (inspection.lookers ??= new Map());
  if (!lookers.has(layer)) lookers.set(layer, lookersOf(inspection, layer));
  if (!lookers.get(layer)) return null;
  const values = new Float32Array(inspection.grid.rows * inspection.grid.columns);
  for (const [query, weight] of lookers.get(layer)[patch]) values[query] = weight;
  return values;
}

// For each patch those that have it among their strongest keys, as [query, weight].
function lookersOf(inspection, layer) {
  const lists = Array.from({ length: inspection.grid.rows * inspection.grid.columns }, () => []);
  for (let query = 0; query < lists.length; query++) {
    const keys = keysOf(inspection, layer, query);
    if (!keys) return null;
    for (const key of keys) if (key.patch !== null) lists[key.patch].push([query, key.weight]);
  }
  return lists;
}

// The patch under a point of the picture, given in shares of its width and height; null outside what the network saw.
function patchAt(map, across, down) {
  const [left, top, right, bottom] = map.box;
  const x = (across * map.picture[1] - left) / (right - left);
  const y = (down * map.picture[0] - top) / (bottom - top);
  if (!(x >= 0 && x < 1 && y >= 0 && y < 1)) return null;
  return Math.floor(y * map.rows) * map.columns + Math.floor(x * map.columns);
}

// The middle of a patch, in shares of the picture's width and height.
function patchMiddle(map, patch) {
  const [left, top, right, bottom] = map.box;
  const row = Math.floor(patch / map.columns);
  const column = patch % map.columns;
  return [
    (left + ((column + 0.5) * (right - left)) / map.columns) / map.picture[1],
    (top + ((row + 0.5) * (bottom - top)) / map.rows) / map.picture[0],
  ];
}

// The map of a word of the inspection's caption.
function wordMap(inspection, index) {
  return keptMap(inspection, `word|${index}`, () => {
    return { values: mapValues(readArray(inspection, "words"), index), signed: false, rest: null };
  });
}

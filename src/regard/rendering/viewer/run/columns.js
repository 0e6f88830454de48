// The pictures of a run as columns of numbers: filtering and sorting a hundred thousand takes some milliseconds.

const SORTS = {
  data: "as in the data",
  worst: "worst first",
  surest: "surest first",
  unsure: "least sure first",
  doubtful: "most doubtful words first",
  name: "by name",
};

function classColumn(values, count) {
  const column = new Int32Array(count).fill(-1);
  if (values) for (let i = 0; i < count; i++) column[i] = values[i] ?? -1;
  return column;
}

// A list of pictures as columns: small pages have lists.
function asColumns(pictures) {
  if (!Array.isArray(pictures)) return pictures;
  const columns = { n: pictures.length };
  for (const key of ["name", "short", "predicted", "true", "confidence", "flips", "inspections", "thumb", "caption", "doubtful"]) {
    if (pictures.some((each) => each[key] !== undefined)) columns[key] = pictures.map((each) => each[key] ?? null);
  }
  return columns;
}

// From the page's data; `right` is 1, 0 or -1 where nothing is known, and so is `flips`.
function readColumns(pictures, classes = []) {
  const count = pictures.n;
  const columns = {
    count,
    classes,
    name: pictures.name,
    short: pictures.short ?? null,
    predicted: classColumn(pictures.predicted, count),
    true: classColumn(pictures.true, count),
    confidence: new Float64Array(count).fill(NaN),
    flips: new Int8Array(count).fill(-1),
    right: new Int8Array(count).fill(-1),
    slices: (pictures.slices ?? []).map((slice) => ({ ...slice, codes: classColumn(slice.codes, count) })),
    inspections: pictures.inspections ?? null,
    inspection: pictures.inspection ?? null,
    caption: pictures.caption?.some((each) => each !== null) ? pictures.caption : null,
    doubtful: pictures.doubtful?.some((each) => each !== null) ? pictures.doubtful : null, // how many words of a caption
    thumb: pictures.thumb ?? null,
    thumbs: pictures.thumbs ?? null,
    text: null,
  };
  for (let i = 0; i < count; i++) {
    columns.confidence[i] = pictures.confidence?.[i] ?? NaN;
    const flips = pictures.flips?.[i] ?? null;
    if (flips !== null) columns.flips[i] = flips ? 1 : 0;
    if (columns.true[i] >= 0 && columns.predicted[i] >= 0) columns.right[i] = columns.true[i] === columns.predicted[i] ? 1 : 0;
  }
  return columns;
}

// The blocks of a picture in this page, or where a server has it.
function inspectionsOf(columns, index) {
  return columns.inspections?.[index] ?? (columns.inspection ? [columns.inspection.replace("{i}", index)] : []);
}

// Names in lower case, joined once: a search is a walk over one string.
function searchText(columns) {
  if (columns.text === null) {
    const starts = new Uint32Array(columns.count + 1);
    const parts = new Array(columns.count);
    for (let i = 0; i < columns.count; i++) {
      parts[i] = `${columns.name[i]} ${columns.caption?.[i] ?? ""}`.toLowerCase();
      starts[i + 1] = starts[i] + parts[i].length + 1;
    }
    columns.text = parts.join("\n");
    columns.starts = starts;
  }
  return columns.text;
}

// Which pictures have `find` in their name or caption, or in the name of their true or predicted class.
function matches(columns, find) {
  const hits = new Uint8Array(columns.count);
  const wanted = find.toLowerCase();
  const text = searchText(columns);
  for (let at = text.indexOf(wanted), i = 0; at >= 0; at = text.indexOf(wanted, columns.starts[i])) {
    while (columns.starts[i + 1] <= at) i++;
    hits[i++] = 1;
    if (i >= columns.count) break;
  }
  const named = columns.classes.map((each) => each.toLowerCase().includes(wanted));
  for (let i = 0; i < columns.count; i++) {
    if (named[columns.true[i]] || named[columns.predicted[i]]) hits[i] = 1;
  }
  return hits;
}

// The indices of the pictures that a filter leaves, in order. A filter: {find, true, answer, right, low, high, flips,
// slice: [column, code], sort}; what is absent does not filter.
function selectPictures(columns, filter = {}) {
  const hits = filter.find ? matches(columns, filter.find) : null;
  const group = filter.slice ? columns.slices[filter.slice[0]].codes : null;
  const low = filter.low ?? -Infinity;
  const high = filter.high ?? Infinity;
  const bounded = filter.low !== undefined || filter.high !== undefined;
  const left = new Uint32Array(columns.count);
  let count = 0;
  for (let i = 0; i < columns.count; i++) {
    if (hits && !hits[i]) continue;
    if (filter.true !== undefined && columns.true[i] !== filter.true) continue;
    if (filter.answer !== undefined && columns.predicted[i] !== filter.answer) continue;
    if (filter.right !== undefined && columns.right[i] !== filter.right) continue;
    if (filter.flips !== undefined && columns.flips[i] !== filter.flips) continue;
    if (bounded && !(columns.confidence[i] >= low && columns.confidence[i] <= high)) continue;
    if (group && group[i] !== filter.slice[1]) continue;
    left[count++] = i;
  }
  return sorted(columns, left.slice(0, count), filter.sort);
}

function sorted(columns, indices, sort) {
  if (sort === "name") return indices.sort(byName(columns));
  if (!sort || sort === "data") return indices;
  if (sort === "doubtful") return indices.sort((a, b) => (columns.doubtful?.[b] ?? 0) - (columns.doubtful?.[a] ?? 0));
  const missing = 3;
  const keys = new Float64Array(indices.length);
  const room = 2 ** 21; // more pictures than any page has, so that equal ones stay in order
  for (let i = 0; i < indices.length; i++) {
    const at = indices[i];
    const sure = columns.confidence[at];
    let key = Number.isNaN(sure) ? missing : sort === "unsure" ? sure : 1 - sure;
    if (sort === "worst" && columns.right[at] !== 0) key += 4;
    keys[i] = Math.round(key * 2 ** 28) * room + at;
  }
  keys.sort();
  for (let i = 0; i < keys.length; i++) indices[i] = keys[i] % room;
  return indices;
}

// Ranks of names, made once: comparing texts is what takes long.
function byName(columns) {
  if (!columns.ranks) {
    const order = Array.from(columns.name.keys());
    const keys = columns.name.map((each) => each.toLowerCase());
    order.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
    columns.ranks = new Uint32Array(columns.count);
    order.forEach((at, rank) => (columns.ranks[at] = rank));
  }
  return (a, b) => columns.ranks[a] - columns.ranks[b];
}

// A filter in words, for the count and for screen readers.
function filterWords(columns, filter) {
  const said = (value) => columns.classes[value] ?? "?";
  const words = [];
  if (filter.find) words.push(`with “${filter.find}”`);
  if (filter.true !== undefined) words.push(`true ${said(filter.true)}`);
  if (filter.answer !== undefined) words.push(`said ${said(filter.answer)}`);
  if (filter.right !== undefined) words.push(filter.right ? "right" : "wrong");
  if (filter.low !== undefined || filter.high !== undefined) {
    words.push(`confidence ${filter.low ?? 0} to ${filter.high ?? 1}`);
  }
  if (filter.flips !== undefined) words.push(filter.flips ? "flipped by the background" : "not flipped by the background");
  if (filter.slice) words.push(`${columns.slices[filter.slice[0]].column} ${columns.slices[filter.slice[0]].values[filter.slice[1]]}`);
  return words.join(", ");
}

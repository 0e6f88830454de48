// Values to colours, as regard.rendering.colour has them: COLOUR_TABLES are its tables, in base64.

const SMOOTH_EDGE = 240; // pixels of the longer side of a smooth map before it is laid over the picture
const colourTables = new Map(); // name -> Uint32Array of 256 colours as ImageData has them

// A colour map at a strength, 0 to 1. The lower a value (in coolwarm: the nearer to none), the more of the picture shows
// through, unless the strength is 1. "spotlight" has no colours: the lower a patch, the darker the picture there.
function colourTable(name, strength = 1) {
  const key = `${name} ${strength}`;
  let table = colourTables.get(key);
  if (!table) {
    const bytes = new Uint8ClampedArray(4 * 256);
    const text = name === "spotlight" ? null : atob(COLOUR_TABLES[name]);
    for (let level = 0; level < 256; level++) {
      for (let part = 0; part < 3; part++) bytes[4 * level + part] = text ? text.charCodeAt(3 * level + part) : 0;
      const weight = name === "coolwarm" ? Math.abs(level - 127.5) / 127.5 : text ? 1 : level / 255;
      const share = text ? strength * (strength + (1 - strength) * weight) : strength * (1 - weight);
      bytes[4 * level + 3] = Math.round(255 * share);
    }
    table = new Uint32Array(bytes.buffer);
    colourTables.set(key, table);
  }
  return table;
}

// The lowest and highest value; symmetric about 0 for a map with a sign. NaN does not count.
function limitsOf(values, signed) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 0];
  if (!signed) return [low, high];
  const most = Math.max(-low, high);
  return [-most, most];
}

function colourName(map, colours) {
  return map.signed ? "coolwarm" : colours || "inferno";
}

// A map as a canvas, a pixel a patch; with `smooth`, more pixels, bilinear between patch centres. Kept on the map.
// Maps that pass with the pointer (`passing`) share one canvas, which holds what it shows until the next is drawn.
function mapCanvas(map, colours, smooth, strength) {
  if (map.passing) return paintedCanvas(map, colours, smooth, strength);
  map.canvases ??= new Map();
  const key = `${colourName(map, colours)} ${smooth} ${strength}`;
  let canvas = map.canvases.get(key);
  if (!canvas) {
    if (map.canvases.size >= 6) map.canvases.clear(); // a slider passes many strengths
    canvas = paintedCanvas(map, colours, smooth, strength);
    map.canvases.set(key, canvas);
  }
  return canvas;
}

function paintedCanvas(map, colours, smooth, strength) {
  const shades = colourTable(colourName(map, colours), strength);
  return smooth ? smoothCanvas(map, shades) : coloured(map, map.values, map.columns, map.rows, shades);
}

// The patches of a map from the strongest to the weakest, and the rank of each, from 1; NaN is last.
function ranksOf(map) {
  if (!map.ranks) {
    const place = (patch) => (Number.isNaN(map.values[patch]) ? -Infinity : map.values[patch]);
    const order = Uint16Array.from(map.values.keys()).sort((a, b) => place(b) - place(a) || a - b);
    const rank = new Uint16Array(order.length);
    order.forEach((patch, index) => (rank[patch] = index + 1));
    map.ranks = { order, rank };
  }
  return map.ranks;
}

const OUTLIER = 3; // times what 95 of 100 patches do not exceed

// What colours go by: "all" the values, to the strongest; "plain", all but artifact tokens and outliers, which then may lie
// beyond the end; "rank", where a patch stands among all, for maps without a sign. Returns a map for colours alone.
function scaledMap(map, scale, tokens) {
  if (scale === "rank" && !map.signed) return (map.ranked ??= rankedMap(map));
  if (scale === "plain") return (map.plain ??= plainMap(map, tokens ?? []));
  return map;
}

function rankedMap({ rows, columns, values, passing, ...map }) {
  const { rank } = ranksOf({ ...map, values });
  const last = Math.max(1, rank.length - 1);
  const share = (place, patch) => (Number.isNaN(values[patch]) ? NaN : 1 - (place - 1) / last);
  return { rows, columns, passing, signed: false, values: Float32Array.from(rank, share) };
}

function plainMap({ rows, columns, signed, values, passing }, tokens) {
  const rest = Float32Array.from(values);
  for (const patch of tokens) rest[patch] = NaN;
  const size = signed ? Math.abs : (value) => value;
  const usual = rest.filter((value) => !Number.isNaN(value)).map(size).sort();
  const most = OUTLIER * usual[Math.floor(0.95 * (usual.length - 1))];
  for (let patch = 0; patch < rest.length; patch++) if (size(rest[patch]) > most) rest[patch] = NaN;
  const limits = limitsOf(rest, signed);
  const beyond = values.reduce((sum, value) => sum + (value > limits[1] || value < limits[0] ? 1 : 0), 0);
  return { rows, columns, signed, values, limits, beyond, passing };
}

function coloured(map, values, width, height, shades) {
  const [low, high] = (map.limits ??= limitsOf(map.values, map.signed));
  const sheet = map.passing ? passingSheet(width, height) : newSheet(width, height);
  const { pixels } = sheet;
  const scale = high > low ? 256 / (high - low) : 0;
  const least = scale ? 0 : 128; // a scale without extent has all in its middle
  for (let place = 0; place < pixels.length; place++) {
    const level = (values[place] - low) * scale + least;
    pixels[place] = level === level ? shades[level > 255 ? 255 : level < 0 ? 0 : level | 0] : 0; // NaN stays clear
  }
  sheet.context.putImageData(sheet.image, 0, 0);
  return sheet.canvas;
}

function newSheet(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  return { canvas, context, image, pixels: new Uint32Array(image.data.buffer) };
}

const passingSheets = new Map(); // by size
function passingSheet(width, height) {
  const key = `${width} ${height}`;
  if (!passingSheets.has(key)) passingSheets.set(key, newSheet(width, height));
  return passingSheets.get(key);
}

// As PatchGrid.to_picture: beyond the outermost patch centres the nearest patch's value goes on.
function smoothCanvas(map, shades) {
  const { rows, columns, values } = map;
  const times = Math.max(1, Math.ceil(SMOOTH_EDGE / Math.max(rows, columns)));
  const across = smoothSteps(columns, times);
  const down = smoothSteps(rows, times);
  const width = columns * times;
  const wide = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < width; x++) {
      const left = values[row * columns + across.from[x]];
      const right = values[row * columns + across.to[x]];
      wide[row * width + x] = left + (right - left) * across.share[x];
    }
  }
  const all = new Float32Array(rows * times * width);
  for (let y = 0; y < rows * times; y++) {
    const upper = down.from[y] * width;
    const lower = down.to[y] * width;
    const share = down.share[y];
    for (let x = 0; x < width; x++) all[y * width + x] = wide[upper + x] + (wide[lower + x] - wide[upper + x]) * share;
  }
  return coloured(map, all, width, rows * times, shades);
}

function smoothSteps(count, times) {
  const from = new Uint16Array(count * times);
  const to = new Uint16Array(count * times);
  const share = new Float32Array(count * times);
  for (let place = 0; place < count * times; place++) {
    const centre = Math.max(0, Math.min(count - 1, (place + 0.5) / times - 0.5));
    from[place] = Math.min(Math.floor(centre), Math.max(count - 2, 0));
    to[place] = Math.min(from[place] + 1, count - 1);
    share[place] = centre - from[place];
  }
  return { from, to, share };
}

// Patches that are dimmed (dims[patch] true), a pixel each, in one colour.
function dimCanvas(dims, columns, rows, colour) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let patch = 0; patch < rows * columns; patch++) if (dims[patch]) image.data.set(colour, 4 * patch);
  context.putImageData(image, 0, 0);
  return canvas;
}

// What the network did not see is paled and hatched, in the page's light or dark.
const OUTSIDE = {
  light: { fill: "rgba(246, 247, 249, .74)", stripe: "rgba(92, 97, 107, .38)", tile: null },
  dark: { fill: "rgba(21, 23, 27, .74)", stripe: "rgba(160, 166, 177, .3)", tile: null },
};
const darkScheme = window.matchMedia("(prefers-color-scheme: dark)");

function outsidePattern(context, look) {
  if (!look.tile) {
    look.tile = document.createElement("canvas");
    look.tile.width = look.tile.height = 10;
    const brush = look.tile.getContext("2d");
    brush.strokeStyle = look.stripe;
    brush.lineWidth = 1;
    for (const shift of [-10, 0, 10]) {
      brush.beginPath();
      brush.moveTo(shift - 1, 11);
      brush.lineTo(shift + 11, -1);
      brush.stroke();
    }
  }
  return context.createPattern(look.tile, "repeat");
}

// The bitmap of an inspection's picture, and it in grey; null where the file holds no picture. No request is made.
function inspectionImage(inspection) {
  inspection.bitmap ??= decodedImage(inspection).catch(() => {
    showProblem(`The picture of ${inspection.name} cannot be read; its maps can.`);
    return null;
  });
  return inspection.bitmap;
}

async function decodedImage(inspection) {
  const { image } = inspection.picture;
  if (!image) return null;
  const bytes = inspection.data.subarray(image.start, image.start + image.length);
  return createImageBitmap(new Blob([bytes], { type: image.type }));
}

const greyImages = new WeakMap();
function greyImage(image) {
  let canvas = greyImages.get(image);
  if (!canvas) {
    canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    context.globalCompositeOperation = "saturation"; // one step of the browser's own, where a loop would take long
    context.fillStyle = "hsl(0, 0%, 50%)";
    context.fillRect(0, 0, image.width, image.height);
    greyImages.set(image, canvas);
  }
  return canvas;
}

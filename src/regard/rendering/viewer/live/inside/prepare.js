// Prepares a picture as regard.data.images.preparation does: Pillow's antialiased resize of a part of it, in the whole
// numbers that Pillow counts in, so that the network sees the very pixels.

const FILTER_BITS = 22; // Pillow's weights are whole numbers of 2 ** -22
const WHITE = 255;
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  hamming: [1, (x) => (Math.abs(x) >= 1 ? 0 : sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI)))],
  bicubic: [2, (x) => bicubic(Math.abs(x))],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

function bicubic(x) {
  if (x < 1) return ((-0.5 + 2) * x - (-0.5 + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

// As Python rounds: halves to even.
function evenRound(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

// The part of a picture of this (height, width) that the network sees: [left, top, right, bottom].
function seenBox(preparation, height, width) {
  if (preparation.mode === "squash" && !preparation.resized) return [0, 0, width, height];
  const [tall, wide] = resizedSides(preparation, height, width);
  const place = (pixels, resized, size) => {
    const first = firstOf(preparation, resized, size);
    return [(first * pixels) / resized, ((first + size) * pixels) / resized];
  };
  const [top, bottom] = place(height, tall, preparation.height);
  const [left, right] = place(width, wide, preparation.width);
  return [left, top, right, bottom];
}

// Where the centre that is kept of a resized side begins; negative where it is padded.
function firstOf({ mode, resized }, side, size) {
  const half = (side - size) / 2;
  return !resized && mode === "crop" ? evenRound(half) : Math.trunc(half);
}

function resizedSides(preparation, height, width) {
  const { mode, resized, crop } = preparation;
  if (mode === "centre") return [height, width];
  if (mode === "squash") return resized ?? [preparation.height, preparation.width];
  const [tall, wide] = resized ?? [preparation.height, preparation.width].map((side) => Math.floor(side / crop));
  if (tall === wide) {
    const short = Math.min(height, width);
    return [height, width].map((side) => Math.floor((tall * side) / short));
  }
  const ratio = Math.min(height / tall, width / wide);
  return [evenRound(height / ratio), evenRound(width / ratio)];
}

// `picture` is { height, width, rows(top, count) }, whose rows are RGBA; (height, width, 3) bytes come out: the whole is
// resized, then whole pixels are cut out, black beyond its edges. Only of a very long picture a part is resized.
function preparedPixels(picture, preparation) {
  const { height, width } = preparation;
  const [tall, wide] = resizedSides(preparation, picture.height, picture.width);
  if (tall * wide > preparation.whole * height * width) return preparedPart(picture, preparation);
  const top = firstOf(preparation, tall, height);
  const left = firstOf(preparation, wide, width);
  const cut = [Math.max(0, left), Math.max(0, top), Math.min(wide, left + width), Math.min(tall, top + height)];
  const pixels = resizedPart(picture, wide, tall, preparation, [0, 0, picture.width, picture.height], cut);
  return padded(pixels, cut[2] - cut[0], cut[3] - cut[1], [cut[0] - left, cut[1] - top], preparation);
}

function preparedPart(picture, preparation) {
  const { height, width } = preparation;
  const [left, top, right, bottom] = seenBox(preparation, picture.height, picture.width);
  const across = width / (right - left);
  const down = height / (bottom - top);
  const before = [evenRound(Math.max(0, -left) * across), evenRound(Math.max(0, -top) * down)];
  const beyond = [evenRound(Math.max(0, right - picture.width) * across), evenRound(Math.max(0, bottom - picture.height) * down)];
  const inside = [width - before[0] - beyond[0], height - before[1] - beyond[1]];
  const part = [Math.max(0, left), Math.max(0, top), Math.min(picture.width, right), Math.min(picture.height, bottom)];
  return padded(resizedPart(picture, ...inside, preparation, part, [0, 0, ...inside]), ...inside, before, preparation);
}

// Pixels of a size, laid at a place of the input.
function padded(pixels, wide, tall, [left, top], { height, width }) {
  if (wide === width && tall === height) return pixels;
  const out = new Uint8Array(3 * width * height);
  for (let y = 0; y < tall; y++) out.set(pixels.subarray(3 * y * wide, 3 * (y + 1) * wide), 3 * ((y + top) * width + left));
  return out;
}

// Of Image.resize((width, height), interpolation, box, reducing_gap=3) what lies within `cut`: [left, top, right, bottom].
function resizedPart(picture, width, height, { interpolation, downFirst }, box, cut) {
  if (interpolation === "nearest") return nearestPart(picture, width, height, box, cut);
  const factors = [
    Math.trunc((box[2] - box[0]) / width / 3) || 1,
    Math.trunc((box[3] - box[1]) / height / 3) || 1,
  ];
  const rest = [width, height, interpolation, downFirst, cut];
  if (factors[0] === 1 && factors[1] === 1) return resampled(picture, box, ...rest);
  const support = FILTERS[interpolation][0] - 0.5;
  const wide = (support * (box[2] - box[0])) / width;
  const tall = (support * (box[3] - box[1])) / height;
  const safe = [
    Math.max(0, Math.trunc(box[0] - wide)),
    Math.max(0, Math.trunc(box[1] - tall)),
    Math.min(picture.width, Math.ceil(box[2] + wide)),
    Math.min(picture.height, Math.ceil(box[3] + tall)),
  ];
  const moved = box.map((edge, place) => (edge - safe[place % 2]) / factors[place % 2]);
  return resampled(reduced(picture, factors, safe), moved, ...rest);
}

// Image.reduce: the mean of squares of pixels, read a row of squares at a time.
function reduced(picture, [across, down], [left, top, right, bottom]) {
  const width = Math.ceil((right - left) / across);
  const height = Math.ceil((bottom - top) / down);
  const share = (count) => Math.floor(Math.fround(2 ** 32 / Math.fround(256 * count)));
  return {
    width,
    height,
    rows(first, count) {
      const out = new Uint8ClampedArray(4 * width * count);
      const y0 = top + first * down;
      const source = picture.rows(y0, Math.min(bottom, y0 + count * down) - y0);
      const sums = new Uint32Array(3);
      for (let y = 0; y < count; y++) {
        const lines = Math.min(down, bottom - y0 - y * down);
        for (let x = 0; x < width; x++) {
          const columns = Math.min(across, right - left - x * across);
          const number = lines * columns;
          sums.fill(number >> 1);
          for (let line = 0; line < lines; line++) {
            let place = 4 * ((y * down + line) * picture.width + left + x * across);
            for (let column = 0; column < columns; column++, place += 4) {
              sums[0] += source[place];
              sums[1] += source[place + 1];
              sums[2] += source[place + 2];
            }
          }
          const scale = share(number);
          const to = 4 * (y * width + x);
          for (let part = 0; part < 3; part++) out[to + part] = Math.floor((sums[part] * scale) / 2 ** 24);
        }
      }
      return out;
    },
  };
}

// Which pixels of a side go into each of `size`, and by which weights; the ends of the box are float32 in Pillow.
function weightsOf(length, from, to, size, interpolation) {
  const [reach, filter] = FILTERS[interpolation];
  const [start, end] = [Math.fround(from), Math.fround(to)];
  const scale = Math.fround(end - start) / size;
  const stretch = Math.max(1, scale);
  const support = reach * stretch;
  return Array.from({ length: size }, (_, place) => {
    const centre = start + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(length, Math.trunc(centre + support + 0.5));
    const shares = [];
    let sum = 0;
    for (let x = first; x < last; x++) {
      shares.push(filter((x - centre + 0.5) * (1 / stretch)));
      sum += shares.at(-1);
    }
    const whole = (share) => Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** FILTER_BITS);
    return { first, weights: Int32Array.from(shares, (share) => whole(sum ? share / sum : share)) };
  });
}

const clamped = (sum) => Math.max(0, Math.min(255, sum >> FILTER_BITS));
const HALF_STEP = 2 ** (FILTER_BITS - 1);
const STRIP = 256; // rows of a picture that are in memory at once

// Pixels that are in memory, as a picture.
function inMemory(bytes, width, height) {
  return { width, height, rows: (top, count) => bytes.subarray(4 * width * top, 4 * width * (top + count)) };
}

// (height, width, 3) bytes. Pillow filters across first or, from 13 on, down where a picture is much too tall; levels are
// whole numbers between the two, so that the order is seen.
function resampled(picture, box, width, height, interpolation, downFirst, cut) {
  const columns = weightsOf(picture.width, box[0], box[2], width, interpolation).slice(cut[0], cut[2]);
  const lines = weightsOf(picture.height, box[1], box[3], height, interpolation).slice(cut[1], cut[3]);
  const less = picture.height - height;
  if (downFirst && less >= 1 && 2 * (picture.width - width) < less) {
    return opaque(filteredAcross(filteredDown(picture, lines), columns, 0, lines.length));
  }
  const first = lines[0].first;
  const last = lines.at(-1).first + lines.at(-1).weights.length;
  const narrow = filteredAcross(picture, columns, first, last - first);
  const moved = lines.map((line) => ({ ...line, first: line.first - first }));
  return opaque(filteredDown(narrow, moved));
}

function filteredAcross(picture, columns, first, height) {
  const width = columns.length;
  const out = new Uint8ClampedArray(4 * width * height);
  for (let top = 0; top < height; top += STRIP) {
    const count = Math.min(STRIP, height - top);
    const source = picture.rows(first + top, count);
    for (let y = 0; y < count; y++) {
      for (let x = 0; x < width; x++) {
        const { first: from, weights } = columns[x];
        let red = HALF_STEP;
        let green = HALF_STEP;
        let blue = HALF_STEP;
        let place = 4 * (y * picture.width + from);
        for (let each = 0; each < weights.length; each++, place += 4) {
          const weight = weights[each];
          red += source[place] * weight;
          green += source[place + 1] * weight;
          blue += source[place + 2] * weight;
        }
        const to = 4 * ((top + y) * width + x);
        out[to] = clamped(red);
        out[to + 1] = clamped(green);
        out[to + 2] = clamped(blue);
      }
    }
  }
  return inMemory(out, width, height);
}

function filteredDown(picture, lines) {
  const { width } = picture;
  const out = new Uint8ClampedArray(4 * width * lines.length);
  const sums = new Int32Array(4 * width);
  lines.forEach(({ first, weights }, y) => {
    const source = picture.rows(first, weights.length);
    sums.fill(HALF_STEP);
    weights.forEach((weight, row) => {
      const start = 4 * width * row;
      for (let place = 0; place < sums.length; place++) sums[place] += source[start + place] * weight;
    });
    for (let place = 0; place < sums.length; place++) out[4 * width * y + place] = clamped(sums[place]);
  });
  return inMemory(out, width, lines.length);
}

// The three colours alone, of a picture in memory.
function opaque({ width, height, rows }) {
  const source = rows(0, height);
  const out = new Uint8Array(3 * width * height);
  for (let place = 0; place < width * height; place++) {
    for (let part = 0; part < 3; part++) out[3 * place + part] = source[4 * place + part];
  }
  return out;
}

function nearestPart(picture, width, height, box, cut) {
  const places = (from, to, size, length) => {
    const step = Math.fround(Math.fround(to) - Math.fround(from)) / size;
    let at = Math.fround(from) + step * 0.5;
    return Array.from({ length: size }, () => {
      const place = Math.min(length - 1, Math.floor(at));
      at += step;
      return place;
    });
  };
  const columns = places(box[0], box[2], width, picture.width).slice(cut[0], cut[2]);
  const lines = places(box[1], box[3], height, picture.height).slice(cut[1], cut[3]);
  const out = new Uint8Array(3 * columns.length * lines.length);
  lines.forEach((line, y) => {
    const row = picture.rows(line, 1);
    columns.forEach((column, x) => out.set(row.subarray(4 * column, 4 * column + 3), 3 * (y * columns.length + x)));
  });
  return out;
}

// (height, width, 3) bytes -> (channels, height, width) float32: v · scale - shift, as the network was trained on.
function normalised(pixels, { height, width, colours, scale, shift }) {
  const size = height * width;
  const planes = scale.length;
  const out = new Float32Array(planes * size);
  const luma = [0.299, 0.587, 0.114].map(Math.fround);
  for (let place = 0; place < size; place++) {
    for (let plane = 0; plane < planes; plane++) {
      const part = (at) => pixels[3 * place + at];
      const grey = () => Math.fround(Math.fround(part(0) * luma[0]) + Math.fround(part(1) * luma[1])) + Math.fround(part(2) * luma[2]);
      const value = colours === "L" ? Math.fround(grey()) : part(colours === "BGR" ? 2 - plane : plane);
      out[plane * size + place] = Math.fround(value * Math.fround(scale[plane])) - Math.fround(shift[plane]);
    }
  }
  return out;
}

// What is transparent lies on white, rounded as Pillow does.
function onWhite(bytes) {
  for (let place = 0; place < bytes.length; place += 4) {
    const alpha = bytes[place + 3];
    if (alpha === WHITE) continue;
    for (let part = 0; part < 3; part++) {
      const sum = WHITE * (WHITE - alpha) + bytes[place + part] * alpha + 128;
      bytes[place + part] = ((sum >> 8) + sum) >> 8;
    }
  }
  return bytes;
}

// Draws a picture with its map: one drawing for the stage, for small maps and for the PNG.

const ARTIFACT_MARK = [3, 2];

// Where a picture lies in an area (width, height) of which `view` { zoom, x, y } shows a part: x and y are the middle of
// what is shown, in shares of the picture. Returns { left, top, scale }: a point p of the picture is at left + p · scale.
function placement(picture, width, height, view) {
  const [high, wide] = picture;
  const scale = Math.min(width / wide, height / high) * view.zoom;
  const along = (extent, size, middle) => {
    const length = size * scale;
    if (length <= extent) return (extent - length) / 2;
    return Math.max(extent - length, Math.min(0, extent / 2 - middle * length));
  };
  return { left: along(width, wide, view.x), top: along(height, high, view.y), scale };
}

// Draws into a context, in its own units: `place` is of `placement`; options: { opacity, colours, smooth, scale, grey,
// showMap, dims (canvas of dimmed patches), artifacts, cursor, pinned (patches), paper ("light" or "dark"), cache (an object
// that keeps the picture as it was scaled) }.
function drawScene(context, image, map, place, options) {
  const { left, top, scale } = place;
  const [high, wide] = map.picture;
  const area = [left, top, wide * scale, high * scale];
  const [l, t, r, b] = map.box;
  const box = [left + l * scale, top + t * scale, (r - l) * scale, (b - t) * scale];
  const partly = l > 0.5 || t > 0.5 || r < wide - 0.5 || b < high - 0.5;
  const paper = options.paper ?? (darkScheme.matches ? "dark" : "light");
  const tinted = options.showMap && map.values && colourName(map, options.colours) !== "spotlight";
  const picture = image && tinted && options.grey !== false ? greyImage(image) : image;
  context.save();
  context.beginPath();
  context.rect(...area);
  context.clip();
  if (options.cache) drawKept(context, picture, area, partly ? box : null, paper, options.cache);
  else drawBase(context, picture, area, partly ? box : null, paper);
  if (options.showMap && map.values) {
    const painted = scaledMap(map, options.scale, map.inspection?.artifacts?.tokens);
    context.imageSmoothingEnabled = options.smooth;
    context.drawImage(mapCanvas(painted, options.colours, options.smooth, options.opacity), ...box);
  }
  if (options.dims) {
    context.imageSmoothingEnabled = false;
    context.drawImage(options.dims, ...box);
  }
  if (partly) {
    context.lineWidth = 1;
    context.setLineDash([5, 4]);
    context.strokeStyle = paper === "dark" ? "#e7e9ee" : "#1b1d22";
    context.strokeRect(...box);
    context.setLineDash([]);
  }
  const cell = [box[2] / map.columns, box[3] / map.rows];
  const corner = (patch) => [
    box[0] + (patch % map.columns) * cell[0],
    box[1] + Math.floor(patch / map.columns) * cell[1],
  ];
  for (const patch of options.artifacts ?? []) drawArtifact(context, corner(patch), cell);
  if (options.pinned !== null && options.pinned !== undefined) outlineCell(context, corner(options.pinned), cell, 3);
  if (options.cursor !== null && options.cursor !== undefined) outlineCell(context, corner(options.cursor), cell, 1.5);
  context.restore();
}

// The picture; what the network did not see of it (outside `box`) paled and hatched.
function drawBase(context, picture, area, box, paper) {
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  if (picture) context.drawImage(picture, ...area);
  else {
    context.fillStyle = "#777";
    context.fillRect(...area);
  }
  if (!box) return;
  context.save();
  context.beginPath();
  context.rect(...area);
  context.rect(...box);
  context.clip("evenodd");
  context.fillStyle = OUTSIDE[paper].fill;
  context.fillRect(...area);
  context.fillStyle = outsidePattern(context, OUTSIDE[paper]);
  context.fillRect(...area);
  context.restore();
}

// The same, drawn once for as long as nothing of it changes: a pointer over patches does not scale a photograph anew.
function drawKept(context, picture, area, box, paper, cache) {
  const { width, height } = context.canvas;
  if (!width || !height) return;
  const transform = context.getTransform();
  const key = [...area, width, height, transform.a, paper].join(" ");
  if (cache.key !== key || cache.picture !== picture) {
    cache.canvas ??= document.createElement("canvas");
    cache.canvas.width = width; // this clears it, too
    cache.canvas.height = height;
    const base = cache.canvas.getContext("2d");
    base.setTransform(transform);
    drawBase(base, picture, area, box, paper);
    Object.assign(cache, { key, picture });
  }
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(cache.canvas, 0, 0);
  context.restore();
}

function outlineCell(context, [x, y], [width, height], line) {
  context.lineWidth = line + 2;
  context.strokeStyle = "rgba(0, 0, 0, .75)";
  context.strokeRect(x, y, width, height);
  context.lineWidth = line;
  context.strokeStyle = "#fff";
  context.strokeRect(x, y, width, height);
}

function drawArtifact(context, [x, y], [width, height]) {
  const [radius, line] = [Math.min(width, height) * 0.32, Math.max(1, Math.min(2, width / 12))];
  for (const [style, wide] of [
    ["rgba(0, 0, 0, .7)", line + 1.5],
    ["#7ff0e8", line],
  ]) {
    context.beginPath();
    context.arc(x + width / 2, y + height / 2, radius, 0, 2 * Math.PI);
    context.lineWidth = wide;
    context.strokeStyle = style;
    context.setLineDash(wide === line ? ARTIFACT_MARK : []);
    context.stroke();
  }
  context.setLineDash([]);
}

// A map over its picture on a canvas of its own: for small maps, and for the words of a caption. `image` is a bitmap or
// null; `map` has { values, rows, columns, box, picture: [height, width], signed }; options: { size: CSS pixels of the
// longer side, opacity (.5), colours ("inferno"), smooth, grey, crop: only what the network saw }.
function drawMap(canvas, image, map, options = {}) {
  const [high, wide] = map.picture;
  const [l, t, r, b] = map.box;
  const part = [Math.max(0, l), Math.max(0, t), Math.min(wide, r), Math.min(high, b)];
  const [left, top, right, bottom] = options.crop ? part : [0, 0, wide, high];
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const scale = ((options.size ?? 160) * ratio) / Math.max(bottom - top, right - left);
  const width = Math.max(1, Math.round((right - left) * scale));
  const height = Math.max(1, Math.round((bottom - top) * scale));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const place = { left: -left * scale, top: -top * scale, scale };
  const usual = { opacity: 0.5, colours: "inferno", smooth: false, showMap: true };
  drawScene(context, smallImage(image, Math.round(wide * scale)), map, place, { ...usual, ...options });
}

// The picture at about a size, so that many small maps do not each scale a large one.
const smallImages = new WeakMap();
function smallImage(image, width) {
  if (!image || image.width <= 1.5 * width) return image;
  let sizes = smallImages.get(image);
  if (!sizes) smallImages.set(image, (sizes = new Map()));
  let canvas = sizes.get(width);
  if (!canvas) {
    canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = Math.max(1, Math.round((image.height / image.width) * width));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    sizes.set(width, canvas);
  }
  return canvas;
}

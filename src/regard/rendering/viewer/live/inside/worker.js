// The network at work, in a worker of its own so that the page stays quick: unpacks it, and answers for pictures.
// Before this stands onnxruntime-web, as `ort`.

const MOST_PIXELS = 100e6;
const DRAWN = 1024; // pixels along the longer side of the picture that is shown
let session = null;
let settings = null;

// What a person can do something about, as it is to be said.
function plainError(text) {
  return Object.assign(new Error(text), { plain: true });
}

// The bytes of a part of the page: text in base64, or a file beside the page; deflated either way.
async function unpacked(part) {
  let stream;
  if (part.text !== undefined) {
    const letters = atob(part.text);
    const bytes = new Uint8Array(letters.length);
    for (let place = 0; place < bytes.length; place++) bytes[place] = letters.charCodeAt(place);
    stream = new Blob([bytes]).stream();
  } else {
    const response = await fetch(part.address, { integrity: part.integrity });
    if (!response.ok) throw plainError(`${part.address} is not there (${response.status}); copy the whole folder again.`);
    stream = response.body;
  }
  return new Uint8Array(await new Response(stream.pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer());
}

async function start(message) {
  settings = message.settings;
  const [runtime, network] = await Promise.all([unpacked(message.runtime), unpacked(message.network)]);
  Object.assign(ort.env.wasm, { wasmBinary: runtime.buffer, numThreads: 1, proxy: false });
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
  const { height, width, scale } = settings.preparation;
  await forward(new Float32Array(scale.length * height * width)); // the first one compiles
}

async function forward(values) {
  const { preparation, input } = settings;
  const shape = [1, preparation.scale.length, preparation.height, preparation.width];
  return session.run({ [input]: new ort.Tensor("float32", values, shape) });
}

// The picture upright. Browsers turn what a camera noted in JPEG and PNG, not all of them in WebP, where it is hidden
// from the decoder and done here.
async function decoded(file) {
  const plain = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  try {
    const bytes = new Uint8Array(await file.slice(0, 16).arrayBuffer());
    if (textAt(bytes, 0) !== "RIFF" || textAt(bytes, 8) !== "WEBP") return await createImageBitmap(file, plain);
    const whole = new Uint8Array(await file.arrayBuffer());
    const orientation = hiddenOrientation(whole);
    return turned(await createImageBitmap(new Blob([whole], { type: "image/webp" }), plain), orientation);
  } catch {
    throw plainError("This browser cannot read the file as a picture; JPEG, PNG, WebP, GIF, AVIF and BMP are read. Save it as one of these.");
  }
}

const textAt = (bytes, start) => String.fromCharCode(...bytes.subarray(start, start + 4));

// The orientation, 1 to 8, that the EXIF chunk of a WebP file notes; the chunk is renamed, so that no decoder reads it.
function hiddenOrientation(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 12; start + 8 <= bytes.length; ) {
    const length = view.getUint32(start + 4, true);
    if (textAt(bytes, start) === "EXIF") {
      bytes[start] = 120; // "xXIF"
      return noted(bytes.slice(start + 8, start + 8 + length));
    }
    start += 8 + length + (length % 2);
  }
  return 1;
}

// The orientation in EXIF, which is a TIFF file, perhaps behind "Exif\0\0"; 1 where it has none or is broken.
function noted(exif) {
  const start = textAt(exif, 0) === "Exif" ? 6 : 0;
  const view = new DataView(exif.buffer, start);
  try {
    const little = view.getUint16(0) === 0x4949;
    const first = view.getUint32(4, little);
    const count = view.getUint16(first, little);
    for (let entry = 0; entry < count; entry++) {
      const at = first + 2 + 12 * entry;
      if (view.getUint16(at, little) === 0x0112) return view.getUint16(at + 8, little);
    }
  } catch {
    // what a camera noted is broken, which says nothing of the picture
  }
  return 1;
}

// By orientation the rows (a, b, c, d) of what turns a picture upright: x' = a · x + c · y, y' = b · x + d · y.
const TURNS = { 2: [-1, 0, 0, 1], 3: [-1, 0, 0, -1], 4: [1, 0, 0, -1], 5: [0, 1, 1, 0], 6: [0, 1, -1, 0], 7: [0, -1, -1, 0], 8: [0, -1, 1, 0] };

function turned(bitmap, orientation) {
  const turn = TURNS[orientation];
  if (!turn) return bitmap;
  const { width, height } = bitmap;
  const canvas = orientation >= 5 ? new OffscreenCanvas(height, width) : new OffscreenCanvas(width, height);
  const [a, b, c, d] = turn;
  const context = canvas.getContext("2d");
  context.setTransform(a, b, c, d, a + c < 0 ? canvas.width : 0, b + d < 0 ? canvas.height : 0);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

// A bitmap as `preparedPixels` takes it.
function readable(bitmap) {
  const { height, width } = bitmap;
  let canvas = null;
  return {
    height,
    width,
    rows(top, count) {
      if (!canvas || canvas.height < count) canvas = new OffscreenCanvas(width, count);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.globalCompositeOperation = "copy";
      context.drawImage(bitmap, 0, -top);
      return onWhite(context.getImageData(0, 0, width, count).data);
    },
  };
}

async function look(file, stage) {
  stage("reading the picture");
  const bitmap = await decoded(file);
  const { height, width } = bitmap;
  if (height * width > MOST_PIXELS) {
    throw plainError(`This picture has ${Math.round((height * width) / 1e6)} million pixels; up to ${MOST_PIXELS / 1e6} million are read here. Make it smaller.`);
  }
  const pixels = preparedPixels(readable(bitmap), settings.preparation);
  stage("asking the network");
  const outputs = await forward(normalised(pixels, settings.preparation));
  const share = Math.min(1, DRAWN / Math.max(height, width));
  const size = { resizeWidth: Math.max(1, Math.round(width * share)), resizeHeight: Math.max(1, Math.round(height * share)) };
  const drawn = await createImageBitmap(bitmap, { ...size, resizeQuality: "high" });
  bitmap.close();
  const values = Object.fromEntries(Object.entries(outputs).map(([name, each]) => [name, { data: each.data, shape: each.dims }]));
  return { outputs: values, drawn, picture: [height, width], box: seenBox(settings.preparation, height, width), pixels };
}

// One piece of work behind the other.
let work = Promise.resolve();
self.onmessage = ({ data }) => {
  const answer = (content, moved = []) => self.postMessage({ id: data.id, ...content }, moved);
  work = work.then(async () => {
    try {
      if (data.kind === "start") answer({ ready: true, ...(await start(data)) });
      else {
        const result = await look(data.file, (stage) => answer({ stage }));
        answer({ result }, [result.drawn]);
      }
    } catch (error) {
      answer({ error: error.message, plain: Boolean(error.plain), name: error.name });
    }
  });
};

// What is said of maps, in plain words.


const AREAS = [
  ["upper left", "top", "upper right"],
  ["left", "centre", "right"],
  ["lower left", "bottom", "lower right"],
];

function percent(share, digits = 0) {
  const value = 100 * share;
  if (value > 0 && value < 10 ** -digits / 2) return `under ${10 ** -digits} %`;
  return `${value.toFixed(digits)} %`;
}

// Two digits, and a third where two would say 0 or 1 of what is not.
function probability(value) {
  return value.toFixed(value >= 0.995 || value < 0.005 ? 3 : 2);
}

function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

// A class in few letters: what stands before its first comma, with spaces for what folders have for them.
function shortClass(name) {
  return String(name).split(",")[0].replaceAll("_", " ");
}

// "Attention · layer 11 · mean of 12 heads", "Grad-CAM for Bengal, not Birman".
function mapTitle(map) {
  if (map.way) {
    const what = map.way === "to" ? "Where this patch looks" : "What looks at this patch";
    return `${what} · layer ${map.layer} · mean of heads`;
  }
  const { spec, group } = map;
  if (!group) return "No map";
  if (group.layered) {
    const head = spec.head === null ? "mean of heads" : `head ${spec.head}`;
    return `${group.label} · layer ${spec.layer} · ${head}${spec.repaired ? " · repaired" : ""}`;
  }
  if (spec.of === null) return group.label;
  return `${group.label} for ${shortClass(spec.of)}${spec.vs === null ? "" : `, not ${shortClass(spec.vs)}`}`;
}

// What the map is, for someone who has never seen one.
function mapExplained(map) {
  if (map.way) {
    const note = map.note ? ` (${map.note})` : "";
    if (map.way === "to") return `How the marked patch shares out its attention among the others${note}.`;
    return `How much of their attention the others give to the marked patch${note}.`;
  }
  if (!map.group) return "";
  if (map.difference) {
    const [one, other] = [shortClass(map.spec.of), shortClass(map.spec.vs)];
    return `The map for ${one} less the map for ${other}: red speaks for ${one}, blue for ${other}.`;
  }
  const [of, vs] = [map.spec.of, map.spec.vs].map((name) => name && shortClass(name));
  const signs = !map.signed ? "" : vs ? ` Red speaks for ${of}, blue for ${vs}.` : " Red speaks for it, blue against it.";
  if (map.group.layered) {
    if (map.inspection.network.reads !== "cls") return "What the answer is read from: how its attention is shared out.";
    return "Where CLS looks, the token that the answer is read from: how its attention is shared out.";
  }
  const description = map.group.description ?? "";
  return description ? `${description[0].toUpperCase()}${description.slice(1)}.${signs}` : signs.trim();
}

// The audit's verdict on the method of a map, and whether there is one.
function mapVerdict(map) {
  const verdict = map.entry?.verdict;
  if (verdict) return { status: verdict.status, text: verdict.text };
  if (map.way || !map.group) return { status: null, text: "" };
  if (map.group.control) return { status: null, text: "A planted map, which does not look at the network." };
  if (map.difference) return { status: null, text: "No audit judges a difference of two maps." };
  if (map.spec.repaired) return { status: null, text: "No audit has judged repaired attention on this model." };
  const settings = map.group.layered && !map.entry ? " with this layer and head" : "";
  return { status: null, text: `No audit has judged this method${settings} on this model.` };
}

function patchName(map, patch) {
  return `row ${Math.floor(patch / map.columns) + 1}, column ${(patch % map.columns) + 1}`;
}

// The weight of a patch: a share where the map is one, else the value with its sign.
function weightText(map, patch) {
  const value = map.values[patch];
  if (Number.isNaN(value)) return "no value";
  if (map.signed) return `${value < 0 ? "−" : "+"}${Math.abs(value).toPrecision(2)}`;
  if (map.way === "from" || map.rest !== null) return percent(value, 2);
  map.sum ??= map.values.reduce((sum, each) => sum + (each > 0 ? each : 0), 0);
  return map.sum > 0 ? percent(value / map.sum, 2) : "0 %";
}

function rankText(map, patch) {
  return `${ranksOf(map).rank[patch]} of ${map.values.length}`;
}

function areaOf(map, patch) {
  const [across, down] = patchMiddle(map, patch);
  const third = (share) => Math.max(0, Math.min(2, Math.floor(3 * share)));
  return AREAS[third(down)][third(across)];
}

// The text alternative: where the strongest patches lie, and how much of the map they are.
function strongestText(map) {
  if (!map.values) return `No map: ${map.missing}.`;
  if (map.strongest) return map.strongest;
  const { order } = ranksOf(map);
  const most = Math.max(1, Math.round(order.length / 10));
  const areas = new Map();
  let inside = 0;
  let all = 0;
  order.forEach((patch, place) => {
    const weight = Math.max(0, map.values[patch]);
    all += weight;
    if (place >= most) return;
    inside += weight;
    const area = areaOf(map, patch);
    areas.set(area, (areas.get(area) ?? 0) + 1);
  });
  const named = [...areas].sort((a, b) => b[1] - a[1]).slice(0, 3);
  const where = named.map(([area, patches]) => `${area} (${count(patches, "patch", "patches")})`).join(", ");
  const share = all > 0 ? ` and hold ${percent(inside / all)} of ${map.signed ? "what speaks for it" : "the map"}` : "";
  const first = [...order.slice(0, 3)].map((patch) => `${patchName(map, patch)} (${weightText(map, patch)})`);
  const patches = most === 1 ? "The strongest patch lies" : `The strongest ${most} of ${order.length} patches lie`;
  map.strongest = `${patches} ${where}${most === 1 ? share.replace("hold", "holds") : share}. First: ${first.join("; ")}.`;
  if (map.signed) map.strongest += ` Lowest: ${patchName(map, order.at(-1))} (${weightText(map, order.at(-1))}).`;
  return map.strongest;
}

// How a patch's token would be read: in the layer, and how that goes through the layers ("0–4 fox, 5–11 Bengal").
function lensReading(inspection, layer, patch) {
  const held = inspection.lens?.layers;
  if (!held?.length) return null;
  const nearest = held.reduce((best, each) => (Math.abs(each - layer) < Math.abs(best - layer) ? each : best));
  const reading = lensOf(inspection, nearest, patch);
  return reading && { ...reading, layer: nearest };
}

function lensPath(inspection, patch) {
  const runs = [];
  for (const layer of inspection.lens?.layers ?? []) {
    const { name } = lensOf(inspection, layer, patch);
    if (runs.length && runs.at(-1).name === name) runs.at(-1).last = layer;
    else runs.push({ name, first: layer, last: layer });
  }
  return runs.map(({ name, first, last }) => ({ layers: first === last ? `${first}` : `${first}–${last}`, name }));
}

// What the keys tell of a patch, in one sentence for the live region.
function patchSentence(map, patch, inspection) {
  const parts = [`${patchName(map, patch)}: weight ${weightText(map, patch)}, rank ${rankText(map, patch)}`];
  if (inspection.artifacts?.tokens.includes(patch)) parts.push("an artifact token");
  const reading = lensReading(inspection, map.spec?.layer ?? lastLayer(inspection), patch);
  if (reading) parts.push(`read as ${shortClass(reading.name)}, ${probability(reading.probability)}`);
  return `${parts.join("; ")}.`.replace(/^r/, "R");
}

// "Of this attention 88 % lies in the picture, 12 % on CLS itself and 4 other tokens outside it."
function restText(map) {
  if (map.rest === null || map.rest === undefined || map.rest < 0.0005) return "";
  const others = map.prefix - 1;
  const tokens = others > 0 ? `CLS and ${count(others, "other token")}` : map.prefix ? "CLS itself" : "other tokens";
  return `${percent(1 - map.rest)} lies in the picture, ${percent(map.rest)} on tokens outside it (${tokens}).`;
}

// "The network says Bengal (0.93); it is one." and its like.
function answerSentence(inspection) {
  const { answer } = inspection;
  if (!answer) return "";
  const [, best] = answer.probabilities.find(([name]) => name === answer.predicted) ?? [];
  const sure = best === undefined ? "" : ` (${probability(best)})`;
  const said = `The network says ${shortClass(answer.predicted)}${sure}`;
  if (!answer.true) return `${said}.`;
  return answer.true === answer.predicted ? `${said}, and is right.` : `${said}, but it is ${shortClass(answer.true)}.`;
}

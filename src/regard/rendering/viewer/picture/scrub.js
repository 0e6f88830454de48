// Scrub the truth: a slider that keeps, or takes out, the strongest patches, and the probability that the network gave
// with just those, measured at eleven shares, beside that of a random map.

const CHART = { width: 320, height: 132, left: 30, right: 8, top: 8, bottom: 22 };

// The measured points of a curve for a way of scrubbing: [[share in percent, probability], ...], shares rising. The
// strongest k % are kept where the weakest 1 - k went ("lif"); they are out where the strongest k went ("mif").
function scrubPoints(curve, mode) {
  const steps = curve.mif.length - 1;
  const values = mode === "keep" ? [...curve.lif].reverse() : curve.mif;
  return values.map((value, step) => [(100 * step) / steps, value]);
}

// The probability at a share: { value, measured, from, to }, with a straight line between two measured points.
function scrubReading(curve, mode, share) {
  const points = scrubPoints(curve, mode);
  const after = points.findIndex(([at]) => at >= share - 1e-9);
  if (Math.abs(points[after][0] - share) < 1e-9) return { value: points[after][1], measured: true };
  const [from, to] = [points[after - 1], points[after]];
  const part = (share - from[0]) / (to[0] - from[0]);
  return { value: from[1] + (to[1] - from[1]) * part, measured: false, from, to };
}

// The class whose probability a map's curve follows.
function curveClass(inspection, entry) {
  return entry.target ?? answerClass(inspection);
}

// The curve of the random map that was measured in the same way, of the same class, or null. Maps of no class have a
// curve for each class that was asked about.
function randomCurve(inspection, entry) {
  const name = curveClass(inspection, entry);
  for (const each of inspection.maps) {
    if (each.method !== "random") continue;
    const curve = each.curves?.[name] ?? (curveClass(inspection, each) === name ? each.curve : null);
    if (curve && curve.occluder === entry.curve.occluder) return curve;
  }
  return null;
}

function makeScrub(view) {
  const mode = segmented(
    "Which patches",
    [
      ["keep", "Keep the strongest"],
      ["out", "Take out the strongest"],
    ],
    (name) => view.scrub(name, name === "keep" ? 100 : 0),
  );
  let dragged = false;
  const slider = sliderOf("Share of patches", { min: 0, max: 100, step: 1, class: "look-share" }, (value) => {
    const near = 10 * Math.round(value / 10);
    view.scrub(scrubMode(), dragged && Math.abs(value - near) <= 2 ? near : value); // the pointer finds measured points
  });
  slider.input.addEventListener("pointerdown", () => (dragged = true));
  slider.input.addEventListener("keydown", () => (dragged = false));
  slider.firstChild.className = "sr";
  const says = el("p", { class: "look-measured" });
  const beside = el("p", { class: "look-measured random" });
  const second = el("p", { class: "look-measured random" });
  const note = el("p", { class: "note" });
  const chart = makeScrubChart();
  const off = el("button", { type: "button", onclick: () => view.change({ keep: null, out: null }, true) }, "Whole picture again");
  const verdict = el("p", { class: "look-explained" });
  const swatch = (kind, text) => el("span", {}, el("i", { class: kind }), text);
  const randomKey = swatch("random", "random map");
  const legend = el("p", { class: "look-key" }, swatch("map", "this map, measured at the dots"), randomKey);
  const body = el("div", {}, verdict, mode, slider, says, beside, second, chart.element, legend, note, off);
  const none = el("p", { class: "note" });
  const element = sectionOf(view, "Does it say more than chance?", none, body);

  const scrubMode = () => (view.state.out === null ? "keep" : "out");
  const part = { element };
  part.update = () => {
    const { inspection, map } = view.panes[0];
    element.hidden = Boolean(view.state.blind) || !map.group;
    const entry = map.entry?.curve ? map.entry : null;
    body.hidden = !entry;
    setText(none, entry ? "" : noCurveText(view, inspection, map));
    none.hidden = Boolean(entry);
    if (!entry) return;
    const chosen = scrubMode();
    const share = chosen === "keep" ? (view.state.keep ?? 100) : view.state.out;
    const name = shortClass(curveClass(inspection, entry) ?? "its class");
    const random = entry.method === "random" ? null : randomCurve(inspection, entry);
    mode.show(chosen);
    slider.show(share, chosen === "keep" ? `${share} % kept` : `${share} % out`);
    setText(verdict, chanceText(entry, random));
    const at = scrubReading(entry.curve, chosen, share);
    setText(says, scrubSentence(chosen, share, name, at));
    setText(beside, random ? randomSentence(scrubReading(random, chosen, share)) : "");
    setText(second, secondSentence(view, entry, chosen, share));
    setText(note, noteText(entry, random, at));
    off.hidden = view.state.keep === null && view.state.out === null;
    randomKey.hidden = !random;
    chart.show(entry, random, chosen, share, at);
  };
  return part;
}

function noCurveText(view, inspection, map) {
  if (!map.values) return `${map.missing}.`;
  const others = mapGroups(inspection).filter((group) => !group.control && group.entries.some((entry) => entry.curve));
  const have = others.length ? ` ${others.map((group) => group.label).join(", ")} ${others.length > 1 ? "have" : "has"} one here.` : "";
  const absent = inspection.absent?.curves ?? inspection.absent?.curve;
  const part = map.group?.layered && !map.entry;
  const how = part ? "`regard explain --layer L --head H --curve`" : "`regard explain --page FILE.html`, or --curve,";
  const why = part ? " with this layer and head" : absent ? `: ${absent}` : "";
  return `This map has no measured curve${why}; ${how} measures one.${have}`;
}

// The answer to the heading, of this picture alone.
function chanceText(entry, random) {
  const gain = entry.curve.srg;
  if (entry.method === "random") return "This is the random map: it is what chance looks like.";
  const than = random ? `, a random map ${signed(random.srg)}` : "";
  const chance = random ? random.srg : 0;
  const more = gain > chance + 0.05 ? "More than chance here" : gain < chance - 0.05 ? "Less than chance here" : "No more than chance here";
  return `${more}: its gain is ${signed(gain)}${than} (SRG; 0 says nothing). One picture proves little; an audit asks many.`;
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

function scrubSentence(mode, share, name, at) {
  const value = `${at.measured ? "" : "about "}${probability(at.value)}`;
  if (mode === "keep") {
    if (share === 100) return `The whole picture: ${name} ${value}.`;
    return share === 0 ? `Nothing left: ${name} ${value}.` : `With only the strongest ${share} %: ${name} ${value}.`;
  }
  if (share === 0) return `The whole picture: ${name} ${value}.`;
  return share === 100 ? `Nothing left: ${name} ${value}.` : `Without the strongest ${share} %: ${name} ${value}.`;
}

function randomSentence(at) {
  return `By a random map: ${at.measured ? "" : "about "}${probability(at.value)}.`;
}

// Of the other map in a comparison, where its curve follows the same class.
function secondSentence(view, entry, mode, share) {
  const other = view.panes[1]?.map;
  const [one, two] = [view.panes[0].inspection, view.panes[1]?.inspection];
  if (!other?.entry?.curve || other.entry.method === "random" && other.inspection === one) return "";
  if (curveClass(two, other.entry) !== curveClass(one, entry)) return "";
  const at = scrubReading(other.entry.curve, mode, share);
  return `By ${view.panes[1].label}: ${at.measured ? "" : "about "}${probability(at.value)}.`;
}

function noteText(entry, random, at) {
  const gone = entry.curve.occluder === "tokens" ? "patches that go are left out" : "patches that go are painted in the mean colour";
  const measured = at.measured
    ? "Measured at this share"
    : `Between two measured points: ${probability(at.from[1])} at ${at.from[0]} % and ${probability(at.to[1])} at ${at.to[0]} %`;
  const none = random || entry.method === "random" ? "" : " No random map was measured for this class.";
  return `${measured}; ${gone}.${none}`;
}

function makeScrubChart() {
  const { width, height, left, right, top, bottom } = CHART;
  const x = (share) => left + ((width - left - right) * share) / 100;
  const y = (value) => top + (height - top - bottom) * (1 - value);
  const line = (points) => points.map(([share, value], place) => `${place ? "L" : "M"}${x(share).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const grid = [0, 0.5, 1].map((value) => [
    svgEl("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    svgEl("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, String(value)),
  ]);
  const ticks = [0, 50, 100].map((share) => svgEl("text", { x: x(share), y: height - 5, "text-anchor": share === 100 ? "end" : share ? "middle" : "start" }, `${share} %`));
  const randomLine = svgEl("path", { class: "random" });
  const ownLine = svgEl("path", { class: "map" });
  const dots = svgEl("g", {});
  const marker = svgEl("line", { class: "mark", y1: top, y2: height - bottom });
  const randomDot = svgEl("circle", { class: "now random", r: 4 });
  const dot = svgEl("circle", { class: "now", r: 5 });
  const element = svgEl("svg", { class: "look-chart", viewBox: `0 0 ${width} ${height}`, role: "img" }, grid.flat(), ticks, randomLine, ownLine, dots, marker, randomDot, dot);
  let drawn = null;

  function show(entry, random, mode, share, at) {
    const key = `${mode} ${entry.array} ${entry.index} ${Boolean(random)}`;
    if (drawn?.key !== key || drawn.entry !== entry) {
      const points = scrubPoints(entry.curve, mode);
      ownLine.setAttribute("d", line(points));
      dots.replaceChildren(...points.map(([at, value]) => svgEl("circle", { cx: x(at), cy: y(value), r: 2.4 })));
      randomLine.setAttribute("d", random ? line(scrubPoints(random, mode)) : "");
      randomDot.style.display = random ? "" : "none";
      const what = mode === "keep" ? "only the strongest patches are kept" : "the strongest patches are taken out";
      element.setAttribute("aria-label", `Probability while ${what}, measured at 11 shares: ${points.map(([at, value]) => `${at} % ${probability(value)}`).join(", ")}`);
      drawn = { key, entry };
    }
    for (const [name, value] of [["x1", x(share)], ["x2", x(share)]]) marker.setAttribute(name, value);
    place(dot, share, at.value);
    dot.classList.toggle("between", !at.measured);
    if (random) place(randomDot, share, scrubReading(random, mode, share).value);
  }

  function place(circle, share, value) {
    circle.setAttribute("cx", x(share));
    circle.setAttribute("cy", y(value));
  }
  return { element, show };
}

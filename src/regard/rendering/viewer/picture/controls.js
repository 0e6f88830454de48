// The panel beside the picture: what the network says, which map is shown, and how.

function sectionOf(view, title, ...children) {
  return el("section", { class: "look-section" }, el(`h${view.heading}`, { class: "look-heading" }, title), children);
}

// A slider with its name and what it stands at.
function sliderOf(name, attributes, change) {
  const input = el("input", { type: "range", ...attributes, oninput: () => change(Number(input.value)) });
  const output = el("span", { class: "look-value" });
  const label = el("label", { class: "look-slider" }, el("span", {}, name), input, output);
  label.show = (value, text) => {
    if (input.value !== String(value)) input.value = value;
    setText(output, text);
    setAttribute(input, "aria-valuetext", text);
  };
  label.input = input;
  return label;
}

// A choice from a list: its name for those who cannot see what stands around it, and the words before it.
function selectOf(name, words, choose) {
  const select = el("select", { "aria-label": name, onchange: () => choose(select.value) });
  const label = el("label", { class: "look-select" }, el("span", {}, words), select);
  label.select = select;
  return label;
}

function makeAnswer(view) {
  const says = el("p", { class: "look-says" });
  const bars = el("ul", { class: "look-bars" });
  const why = el("button", { type: "button", class: "look-why", onclick: () => view.toggleWhy() });
  const element = sectionOf(view, "What the network says", says, bars, why);
  let drawn = null;

  function build(inspection) {
    const { answer } = inspection;
    setText(says, answerSentence(inspection));
    const notes = [];
    if (answer.seen) notes.push("It was trained on this picture.");
    if (answer.flips) notes.push("It changes its mind when the background is exchanged.");
    if (notes.length) says.append(el("small", {}, ` ${notes.join(" ")}`));
    const rows = answer.probabilities.map(([name, share]) => {
      const bar = el("span", { class: "look-bar", "aria-hidden": "true" });
      bar.style.setProperty("--share", share);
      const right = name === answer.true;
      const label = [el("bdi", {}, shortClass(name)), right ? el("small", {}, "true") : ""];
      const held = mapGroups(inspection).some((group) => groupClasses(group).includes(name));
      const title = held ? `Show what speaks for ${shortClass(name)}` : null;
      const text = held
        ? el("button", { type: "button", title, onclick: () => view.chooseClass(name) }, label)
        : el("span", { title: `No map for this class: ${absentReason(inspection, "classes")}` }, label);
      const state = name === answer.predicted ? (answer.true && !right ? "wrong" : "best") : "";
      return el("li", { class: state }, text, bar, el("span", { class: "look-value" }, probability(share)));
    });
    bars.replaceChildren(...rows);
  }

  const part = { element };
  part.update = () => {
    const { inspection } = view.panes[0];
    element.hidden = !inspection.answer;
    if (!inspection.answer) return;
    if (drawn !== inspection) build(inspection);
    drawn = inspection;
    const question = whyQuestion(inspection);
    why.hidden = !question.of;
    setText(why, `Why ${shortClass(question.of)} and not ${shortClass(question.vs)}?`);
    setDisabled(why, question.missing);
    const asked = view.spec.of === question.of && view.spec.vs === question.vs && question.vs !== null;
    setAttribute(why, "aria-pressed", String(asked));
  };
  return part;
}

// " (predicted, true)" and its like.
function classRole(inspection, name) {
  const { answer } = inspection;
  if (!answer) return "";
  const roles = { predicted: answer.predicted, true: answer.true, "runner-up": answer.runner_up };
  const held = Object.keys(roles).filter((role) => roles[role] === name);
  return held.length ? ` (${held.join(", ")})` : "";
}

// Which two classes "why this and not that" is about, and by which method: { of, vs, map, missing }.
function whyQuestion(inspection, current = null) {
  const { answer } = inspection;
  if (!answer) return { of: null };
  const of = answer.predicted;
  const vs = answer.true && answer.true !== of ? answer.true : answer.runner_up;
  if (!vs || vs === of) return { of: null };
  const able = mapGroups(inspection).filter((group) => {
    if (group.control) return false;
    const classes = groupClasses(group);
    const contrast = group.entries.some((entry) => entry.target === of && entry.against === vs);
    return contrast || (classes.includes(of) && classes.includes(vs));
  });
  const judged = able.find((group) => group.entries.some((entry) => entry.verdict?.status === "supported"));
  const both = able.find((group) => group.entries[0].signed); // what speaks against it is seen, too
  const group = able.find((each) => each.id === current) ?? judged ?? both ?? able[0];
  const missing = group ? "" : `No method has maps of both classes here: ${absentReason(inspection, "classes", "maps")}.`;
  return { of, vs, map: group?.id ?? null, missing };
}

function makeMapControls(view) {
  const method = selectOf("Map", "Map", (map) => view.choose({ map }));
  const target = selectOf("For class", "for", (of) => view.choose({ of }));
  const against = selectOf("And not class", "and not", (vs) => view.choose({ vs: vs || null }));
  const layer = sliderOf("Layer", { min: 0, step: 1 }, (value) => view.choose({ layer: value }, false));
  const head = sliderOf("Head", { min: 0, step: 1 }, (value) => view.choose({ head: value ? value - 1 : null }, false));
  const classes = el("div", { class: "look-pair" }, target, against);
  const sliders = el("div", { class: "look-sliders" }, layer, head);
  const explained = el("p", { class: "look-explained" });
  const rest = el("p", { class: "note" });
  const verdict = el("p", { class: "look-verdict" });
  const repair = el("button", { type: "button", onclick: () => view.toggleRepaired() }, "Show repaired");
  const beforeAfter = el("button", { type: "button", onclick: () => view.compareRepaired() }, "Before and after repair");
  const artifacts = el("p", { class: "note" });
  const repairs = el("div", { class: "look-repair" }, artifacts, el("div", { class: "look-row" }, repair, beforeAfter));
  const words = el("details", {}, el("summary", {}, "Where its strongest patches lie"), el("p", { class: "note" }));
  const element = sectionOf(view, "The map", method, classes, sliders, explained, rest, verdict, repairs, words);

  const part = { element };
  part.update = () => {
    const { inspection, map, shown } = view.panes[0];
    const { spec } = view;
    element.hidden = Boolean(view.state.blind) || !map.group;
    const groups = mapGroups(inspection);
    const options = (control) => groups.filter((each) => Boolean(each.control) === control).map((each) => [each.id, each.label]);
    const lists = [["", options(false)]];
    if (options(true).length) lists.push(["Planted maps, to hold against", options(true)]);
    fillSelect(method.select, lists, spec.map);
    classes.hidden = spec.of === null;
    if (spec.of !== null) showClasses(inspection, spec, map.group);
    sliders.hidden = !map.group?.layered;
    if (map.group?.layered) {
      const { layers, heads } = inspection.network;
      layer.input.max = layers - 1;
      layer.show(spec.layer, `${spec.layer}${spec.layer === layers - 1 ? " (last)" : ""}`);
      head.input.max = heads;
      head.show(spec.head === null ? 0 : spec.head + 1, spec.head === null ? `mean of ${heads}` : `${spec.head}`);
    }
    setText(explained, mapExplained(shown));
    setText(rest, restText(shown));
    const judged = mapVerdict(shown);
    verdict.dataset.status = judged.status ?? "none";
    setText(verdict, judged.status ? `Audit: ${judged.status}; ${judged.text}` : judged.text);
    verdict.hidden = !judged.text;
    setText(words.lastChild, strongestText(shown));
    showRepair(inspection, spec, map.group);
  };

  function showClasses(inspection, spec, group) {
    const held = groupClasses(group);
    const known = [...new Set([...held, ...inspection.classes])];
    const missing = absentReason(inspection, "classes", "maps");
    const option = (name) => [name, shortClass(name) + classRole(inspection, name), held.includes(name) ? "" : missing];
    fillSelect(target.select, [["", known.map(option)]], spec.of);
    const others = known.filter((name) => name !== spec.of);
    const contrasts = group.entries.filter((entry) => entry.target === spec.of && entry.against).map((entry) => entry.against);
    const able = (name) => contrasts.includes(name) || (held.includes(spec.of) && held.includes(name));
    const rows = others.map((name) => [name, shortClass(name) + classRole(inspection, name), able(name) ? "" : missing]);
    fillSelect(against.select, [["", [["", "anything else"], ...rows]]], spec.vs ?? "");
  }

  function showRepair(inspection, spec, group) {
    const { artifacts: tokens } = inspection;
    repairs.hidden = !tokens?.tokens.length || !group?.layered;
    if (repairs.hidden) return;
    const number = tokens.tokens.length;
    const take = number === 1 ? "takes" : "take";
    setText(artifacts, `${count(number, "artifact token")} (ringed) ${take} ${percent(tokens.share)} of CLS's attention in the last layer.`);
    const missing = readArray(inspection, "cls_repaired") ? "" : absentReason(inspection, "cls_repaired", "repaired");
    setAttribute(repair, "aria-pressed", String(spec.repaired));
    for (const button of [repair, beforeAfter]) setDisabled(button, missing);
  }
  return part;
}

function makeDisplay(view) {
  const opacity = sliderOf("Strength", { min: 0, max: 100, step: 5 }, (value) => view.change({ opacity: value }));
  const shape = segmented(
    "Patches",
    [
      [false, "Squares"],
      [true, "Smooth"],
    ],
    (smooth) => view.change({ smooth }, true),
  );
  const colours = segmented(
    "Colours",
    [
      ["inferno", "Glow"],
      ["viridis", "Viridis"],
      ["spotlight", "Spotlight", "The picture's own colours, darker where the map is low"],
    ],
    (name) => view.change({ colours: name }, true),
  );
  const scale = segmented(
    "Colours by",
    [
      ["all", "To the strongest", "The strongest patch has the highest colour, whatever it is"],
      ["plain", "Without outliers", "Artifact tokens, and patches far above all others, do not count and lie beyond the highest colour"],
      ["rank", "By rank", "Colours say the order of the patches alone, so that few strong ones do not darken all others"],
    ],
    (scale) => view.change({ scale }, true),
  );
  const map = el("input", { type: "checkbox", onchange: () => view.change({ showMap: map.checked }) });
  const marks = el("input", { type: "checkbox", onchange: () => view.change({ marks: marks.checked }) });
  const marksLabel = el("label", {}, marks, " Ring artifact tokens");
  const element = el(
    "details",
    { class: "look-section look-display" },
    el("summary", {}, "Display"),
    opacity,
    scale,
    el("div", { class: "look-row" }, shape, colours),
    el("div", { class: "look-row" }, el("label", {}, map, " Map over the picture"), marksLabel),
  );
  const part = { element };
  part.update = () => {
    const { state } = view;
    opacity.show(state.opacity, `${state.opacity} %`);
    shape.show(state.smooth);
    const rank = view.panes[0].shown.signed ? "Ranks would hide the sign." : "";
    scale.show(state.scale === "rank" && rank ? "all" : state.scale, { rank });
    const reason = view.panes[0].shown.signed ? "A map with a sign has its two colours." : "";
    colours.show(state.colours, { inferno: reason, viridis: reason, spotlight: reason });
    map.checked = state.showMap;
    marks.checked = state.marks;
    marksLabel.hidden = !view.panes[0].inspection.artifacts?.tokens.length;
  };
  return part;
}

// Under the picture: what it is, and what its colours mean.
function makeLegend(view) {
  const title = el("span", { class: "look-title" });
  const ramp = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const low = el("span", {});
  const high = el("span", {});
  const scale = el("span", { class: "look-ramp" }, low, ramp, high);
  const read = el("p", { class: "look-read" });
  const element = el("div", { class: "look-legend" }, title, scale, read);
  let ramped = null;
  const part = { element, read };
  part.hovered = () => view.state.way !== "read" && part.update();
  part.update = () => {
    const { shown, dims, blind } = view.panes[0];
    const two = view.panes.length > 1;
    setText(title, blind || two ? "" : mapTitle(shown));
    const mixed = two && view.panes[1].shown.signed !== shown.signed;
    scale.hidden = blind || mixed || Boolean(dims) || !shown.values || !view.state.showMap;
    if (shown.values) {
      const painted = scaledMap(shown, view.state.scale, shown.inspection.artifacts?.tokens);
      const [from, to] = (painted.limits ??= limitsOf(painted.values, painted.signed));
      const share = (shown.way || shown.rest !== null) && painted !== shown.ranked;
      const beyond = painted.beyond && !two ? ` (${count(painted.beyond, "patch", "patches")} beyond)` : "";
      setText(low, two ? "low" : shown.signed ? "against" : share ? percent(from, 1) : "low");
      setText(high, (two ? "high" : shown.signed ? "for" : share ? percent(to, 1) : painted === shown.ranked ? "high, by rank" : "high") + beyond);
      const name = colourName(shown, view.state.colours);
      if (ramped !== name) paintRamp(ramp, name);
      ramped = name;
    }
  };
  return part;
}

function paintRamp(canvas, name) {
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, 256, 1);
  const strip = document.createElement("canvas");
  strip.width = 256;
  strip.height = 1;
  const image = new ImageData(256, 1);
  new Uint32Array(image.data.buffer).set(colourTable(name));
  strip.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(strip, 0, 0);
}

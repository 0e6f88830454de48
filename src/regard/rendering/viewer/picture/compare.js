// Two maps held against each other, and the blind test: which of two maps is the method's, and which a control's?

function makeCompare(view) {
  const select = selectOf("Compare with", "with", (text) => {
    if (!text) view.change({ second: null }, true);
    else view.change({ second: specOfText(text), tiles: view.state.tiles }, true);
  });
  const how = segmented(
    "How the two are shown",
    [
      ["swipe", "Swipe", "One over the other, with a divider to drag"],
      ["side", "Side by side", "Both, with pan and zoom linked"],
    ],
    (name) => view.change({ how: name }, true),
  );
  const exchange = el("button", { type: "button", onclick: () => view.exchange() }, "Exchange");
  const hint = el("p", { class: "note" });
  const pair = el("div", { class: "look-row" }, how, exchange);
  const element = sectionOf(view, "Compare", select, pair, hint);
  element.classList.add("look-compare");
  const part = { element };
  part.update = () => {
    element.hidden = Boolean(view.state.blind) || !view.panes[0].map.group;
    const second = view.panes.length > 1 ? view.panes[1].map.spec : null;
    const key = [specText(view.spec), second && specText(second), view.labels, view.loaded.length, view.panes[0].inspection.serial];
    if (part.key !== key.join(" ")) fillSelect(select.select, compareOptions(view), second && !view.state.blind ? specText(second) : "");
    part.key = key.join(" ");
    pair.hidden = !second;
    how.show(view.state.how);
    setText(hint, second ? (view.state.how === "swipe" ? "Drag the line in the picture, or focus it and use the arrow keys." : "") : "");
    hint.hidden = !hint.textContent;
  };
  return part;
}

// What the map that is shown can be held against, grouped, as options of a <select>.
function compareOptions(view) {
  const { spec } = view;
  const { inspection } = view.panes[0];
  const groups = mapGroups(inspection);
  const group = groups.find((each) => each.id === spec.map);
  const lists = new Map([["", [["", "nothing"]]]]);
  const seen = new Set([specText(spec)]);
  const add = (list, part, text) => {
    const target = view.loaded[part.run ?? spec.run] ?? inspection;
    const value = specText(completeSpec(target, { ...spec, ...part }));
    if (seen.has(value)) return;
    seen.add(value);
    if (!lists.has(list)) lists.set(list, []);
    lists.get(list).push([value, text]);
  };
  if (group?.layered && readArray(inspection, "cls_repaired")) {
    add("Repair", { repaired: !spec.repaired }, spec.repaired ? "before repair" : "repaired");
  }
  view.labels.forEach((label, run) => run !== spec.run && add("Networks and runs", { run }, label));
  const classes = group ? groupClasses(group) : [];
  for (const of of classes) if (of !== spec.of) add("Classes", { of, vs: null }, `${group.label} for ${shortClass(of)}`);
  for (const each of groups) if (!each.control && each !== group) add("Methods", { map: each.id, vs: null }, each.label);
  for (const each of groups) if (each.control && each !== group) add("Planted maps", { map: each.id, vs: null }, each.label);
  if (group?.layered) {
    for (const layer of attentionLayers(inspection)) if (layer !== spec.layer) add("Layers", { layer }, `Layer ${layer}`);
    if (spec.head !== null) add("Heads", { head: null }, "mean of heads");
    const heads = readerMap(inspection, spec.layer, 0) ? inspection.network.heads : 0;
    for (let head = 0; head < heads; head++) if (head !== spec.head) add("Heads", { head }, `Head ${head}`);
  }
  const second = view.state.second;
  const inspectionOfSecond = second && view.loaded[second.run];
  if (inspectionOfSecond) {
    const whole = completeSpec(inspectionOfSecond, second);
    const value = specText(whole);
    if (value !== specText(spec) && !seen.has(value)) lists.set("Chosen", [[value, mapTitle(shownMap(inspectionOfSecond, whole))]]);
    else if (value === specText(spec)) lists.set("Chosen", [[value, "the same map"]]);
  }
  return [...lists];
}

// Two maps of which one is a method's and one a control's, in random order; null where there are not both.
function drawBlindPair(inspection, random = Math.random) {
  const maps = mapGroups(inspection).map((group) => shownMap(inspection, completeSpec(inspection, { map: group.id })));
  const whole = maps.filter((map) => map.values && map.group.id && blindEntry(map));
  const pick = (control) => {
    const able = whole.filter((map) => map.group.control === control);
    return able[Math.floor(random() * able.length)];
  };
  const pair = [pick(false), pick(true)];
  if (!pair[0] || !pair[1]) return null;
  if (random() < 0.5) pair.reverse();
  const blind = { maps: pair, chosen: null };
  const name = (pane) => (pane === 0 ? "A" : "B");
  blind.label = (pane) => (blind.chosen === null ? `Map ${name(pane)}` : `${name(pane)}: ${mapTitle(pair[pane])}`);
  return blind;
}

function blindEntry(map) {
  return map.entry ?? map.group.entries[0] ?? null;
}

function makeBlind(view) {
  const tally = { right: 0, all: 0 };
  const start = el("button", { type: "button", onclick: begin }, "Start the blind test");
  const intro = el("p", { class: "note" }, "Two maps without names: one by a method, one that never looked at the network. Which is which?");
  const question = el("p", { class: "look-explained" }, "Which map is the method's? The other never looked at the network.");
  const choices = [0, 1].map((pane) => el("button", { type: "button", onclick: () => guess(pane) }, `Map ${"AB"[pane]}`));
  const told = el("p", { class: "look-explained", role: "status" });
  const again = el("button", { type: "button", onclick: begin }, "Another pair");
  const end = el("button", { type: "button", onclick: () => view.change({ blind: null }, true) }, "End the test");
  const score = el("p", { class: "look-tally" });
  const asked = el("div", { class: "look-row" }, choices);
  const running = el("div", {}, question, asked, told, score, el("div", { class: "look-row" }, again, end));
  const element = sectionOf(view, "Blind test", intro, start, running);
  element.classList.add("look-blind");

  function begin() {
    const pair = drawBlindPair(view.loaded[view.state.spec.run]);
    if (pair) view.change({ blind: pair, hover: null }, true);
  }

  function guess(pane) {
    const { blind } = view.state;
    if (!blind || blind.chosen !== null) return;
    blind.chosen = pane;
    tally.all += 1;
    if (!blind.maps[pane].group.control) tally.right += 1;
    view.change({});
    again.focus();
  }

  function toldText(blind) {
    const right = !blind.maps[blind.chosen].group.control;
    const parts = blind.maps.map((map, pane) => {
      const curve = blindEntry(map).curve;
      return `${"AB"[pane]} is ${mapTitle(map)}${curve ? ` (gain ${signed(curve.srg)})` : ", without a curve"}`;
    });
    const gains = blind.maps.map((map) => blindEntry(map).curve?.srg ?? null);
    const method = blind.maps.findIndex((map) => !map.group.control);
    const beaten = gains.every((gain) => gain !== null) && gains[1 - method] >= gains[method];
    const surprise = beaten ? " By its measured gain the control does no worse on this picture." : "";
    return `${right ? "Right" : "No"}: ${parts.join("; ")}.${surprise}`;
  }

  const part = { element, begin, guess };
  part.update = () => {
    const { blind } = view.state;
    const inspection = view.loaded[view.state.spec.run];
    element.hidden = !mapGroups(inspection).length;
    intro.hidden = start.hidden = Boolean(blind);
    running.hidden = !blind;
    const able = mapGroups(inspection);
    const controls = able.some((group) => group.control) && able.some((group) => !group.control);
    setDisabled(start, controls ? "" : `It needs a method's map and a planted one: ${absentReason(inspection, "controls", "control")}.`);
    if (!blind) return;
    const open = blind.chosen === null;
    question.hidden = asked.hidden = !open;
    setText(told, open ? "" : toldText(blind));
    again.hidden = open;
    setText(score, tally.all ? `${tally.right} of ${tally.all} right so far.` : "");
  };
  return part;
}

// The view of a caption: its words and where the network looked for each, and for a place, the words that looked there.

const AS_LIKELY = 0.9; // of its probability that a word keeps without the picture, to be called as likely without
const PLAY_PAUSE = 1100; // milliseconds a word

// Parts of speech as taggers write them (Penn Treebank), in words: the longest beginning counts.
const PARTS = { NN: "noun", NNP: "name", JJ: "adjective", VB: "verb", MD: "verb", RB: "adverb", DT: "determiner", PDT: "determiner", PRP: "pronoun", WP: "pronoun", WDT: "pronoun", IN: "preposition", TO: "preposition", RP: "particle", CC: "conjunction", CD: "number", EX: "there" };

function partName(part) {
  for (let length = part.length; length >= 2; length--) if (PARTS[part.slice(0, length)]) return PARTS[part.slice(0, length)];
  return part;
}

function asLikelyWithout(word) {
  return word.without !== null && word.without !== undefined && word.probability !== null && word.without >= AS_LIKELY * word.probability;
}

function probabilityText(value) {
  return value >= 0.0005 ? value.toFixed(3) : value.toExponential(1);
}

// What the word owes to the picture, in words.
function withoutText(word) {
  if (word.without * AS_LIKELY > word.probability) return "likelier without the picture";
  if (asLikelyWithout(word)) return "as likely without the picture";
  const times = word.probability / Math.max(word.without, 1e-12);
  return times >= 1000 ? "more than 1000 times as likely with the picture" : `${times >= 10 ? times.toFixed(0) : times.toFixed(1)} times as likely with the picture`;
}

function captionView(area, inspection, state, onState, options = {}) {
  const { words, measured } = inspection.caption;
  const supported = words.some((word) => word.support);
  let openChecks = !supported; // where there is no support they are all there is
  const { rows, columns, picture: [height, width], box } = inspection.grid;
  const maps = readArray(inspection, "words");
  const mapped = (word) => Boolean(maps) && word.index !== null && word.index !== undefined;
  let at = Math.min(Math.max(Number.parseInt(state.word, 10) || 0, 0), words.length - 1);
  let place = null; // a patch that was pointed at
  let playing = 0;
  let image = null;
  let closed = false;

  const canvas = el("canvas", { class: "word-map", "aria-hidden": "true" });
  const over = svgEl("svg", { class: "word-over", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const stage = el("div", { class: "word-stage", role: "slider", tabindex: "0", "aria-label": "A place in the picture, by rows and columns of patches", "aria-valuemin": "0", "aria-valuemax": rows * columns - 1, "aria-valuenow": "0", "aria-valuetext": "no place chosen", style: `--ratio: ${width / height}` }, canvas, over);
  const shownMap = el("p", { class: "note word-said" });
  const places = el("p", { class: "note word-places" });
  const sentence = el("div", { class: "word-line", role: "listbox", "aria-orientation": "horizontal", "aria-label": "Words of the caption" });
  const facts = el("dl", { class: "word-facts" });
  const others = el("div", { class: "word-others" });
  const play = el("button", { type: "button", onclick: () => (playing ? stop() : start()) }, "Play through");
  const clear = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => pointAt(null) }, "No place");
  const truths = words.some((word) => word.truth);
  const truthBox = el("input", { type: "checkbox", checked: true, onchange: drawOver });

  const parts = words.map((word, index) => {
    const without = !supported && asLikelyWithout(word);
    const said = [word.text, word.wrong && "wrong", isDoubtful(word) && doubtText(word), without && "as likely without the picture"].filter(Boolean).join(", ");
    const part = el("span", { class: "word", role: "option", tabindex: "-1", "aria-selected": "false", "aria-label": said }, el(word.wrong ? "s" : "span", { dir: "auto" }, word.text));
    part.classList.toggle("unseeing", Boolean(without));
    part.classList.toggle("doubtful", isDoubtful(word));
    part.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && !playing && choose(index));
    part.addEventListener("click", () => (stop(), choose(index, true)));
    return part;
  });
  parts.forEach((part, index) => sentence.append(index ? " " : "", part));
  sentence.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: words.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    stop();
    choose(to, true);
  });

  // Words that the caption would have without seeing anything, listed: not by a line under them alone.
  const compared = words.filter((word) => word.without !== null && word.without !== undefined);
  const unseeing = compared.filter(asLikelyWithout);
  const listed = unseeing.flatMap((word, index) => [index ? ", " : "", "“", isolated(word.text), "”"]);
  const summary = !compared.length
    ? "How likely each word is without the picture was not measured (regard caption --depends)."
    : unseeing.length ? ["As likely without the picture: ", ...listed, "."] : "No word is as likely without the picture.";

  function choose(to, focus = false) {
    at = Math.min(Math.max(to, 0), words.length - 1);
    parts.forEach((part, index) => {
      part.setAttribute("aria-selected", String(index === at));
      part.tabIndex = index === at ? 0 : -1;
    });
    if (focus) parts[at].focus({ preventScroll: true });
    drawFacts();
    drawPicture();
    onState({ word: at || null });
  }

  function bar(label, value, text, name = "") {
    const meter = el("span", { class: "word-bar", "aria-hidden": "true" }, el("i", { style: `width:${(100 * Math.min(1, value)).toFixed(1)}%` }));
    return el("div", { class: name }, el("dt", {}, label), el("dd", {}, meter, el("span", {}, text)));
  }

  function drawFacts() {
    const word = words[at];
    const list = [];
    if (word.probability !== null && word.probability !== undefined) list.push(bar("probability", word.probability, probabilityText(word.probability)));
    if (word.support) list.push(bar("support", word.support.probability, `${probability(word.support.probability)}${isDoubtful(word) ? ": doubtful" : ""}`, isDoubtful(word) ? "support low" : "support"));
    if (word.without !== null && word.without !== undefined) list.push(bar("without the picture", word.without, `${probabilityText(word.without)}: ${withoutText(word)}`, "without"));
    const title = el("p", { class: "word-title" }, isolated(word.text, { class: "strong" }), word.part ? el("span", { class: "aside" }, ` ${partName(word.part)}`) : null, word.wrong ? el("span", { class: "wrong" }, " wrong") : null);
    facts.replaceChildren(...list);
    const choices = (word.alternatives ?? []).filter(([text]) => text !== word.text).sort((a, b) => b[1] - a[1]);
    others.replaceChildren(
      title, facts,
      isDoubtful(word) ? el("p", { class: "word-why" }, whyDoubtful(word)) : "",
      choices.length ? el("p", { class: "note" }, "What else it might have said here") : "",
      choices.length ? el("dl", { class: "word-facts" }, choices.map(([text, value]) => bar(isolated(text), value, probabilityText(value)))) : "",
      word.checks ? checkTable(word, openChecks, (open) => (openChecks = open)) : "",
    );
  }

  const wordMap = (word) => ({ ...gridOf(inspection), values: mapValues(maps, word.index), signed: false });

  function drawPicture() {
    const word = words[at];
    const size = Math.max(stage.clientWidth, stage.clientHeight) || 480;
    const shown = mapped(word) ? wordMap(word) : { ...gridOf(inspection), values: null, signed: false };
    drawMap(canvas, image, shown, { opacity: 0.55, grey: mapped(word), showMap: mapped(word), size, smooth: true });
    shownMap.replaceChildren(...(mapped(word) ? ["Where it looked for “", isolated(word.text), "”", describedPeak(word)] : ["No map is held for “", isolated(word.text), "”."]));
    drawOver();
  }

  function describedPeak(word) {
    const values = mapValues(maps, word.index);
    const best = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
    return `: most at row ${Math.floor(best / columns)}, column ${best % columns}.`;
  }

  function drawOver() {
    over.replaceChildren();
    const { truth } = words[at];
    if (truth && truthBox.checked) {
      const shape = truth.box
        ? svgEl("rect", { x: truth.box[0], y: truth.box[1], width: truth.box[2] - truth.box[0], height: truth.box[3] - truth.box[1] })
        : svgEl("path", { d: maskOutline(readArray(inspection, truth.mask)) });
      for (const name of ["region-edge", "region"]) {
        const line = shape.cloneNode();
        line.setAttribute("class", name);
        over.append(line);
      }
    }
    if (place === null) return;
    const [left, top, right, bottom] = box;
    const cell = [(right - left) / columns, (bottom - top) / rows];
    for (const name of ["place-edge", "place"]) {
      over.append(svgEl("rect", { class: name, x: left + (place % columns) * cell[0], y: top + Math.floor(place / columns) * cell[1], width: cell[0], height: cell[1] }));
    }
  }

  // The line around the cells of a mask that are more than half, in pixels of the picture.
  function maskOutline(mask) {
    if (!mask) return "";
    const [high, wide] = mask.shape.slice(-2);
    const values = mapValues(mask, 0);
    const inside = (row, column) => row >= 0 && column >= 0 && row < high && column < wide && values[row * wide + column] > 0.5;
    const [left, top, right, bottom] = high === rows && wide === columns ? box : [0, 0, width, height];
    const x = (column) => (left + (column * (right - left)) / wide).toFixed(1);
    const y = (row) => (top + (row * (bottom - top)) / high).toFixed(1);
    const path = [];
    for (let row = 0; row <= high; row++) for (let column = 0; column <= wide; column++) {
      if (inside(row, column) !== inside(row - 1, column)) path.push(`M${x(column)} ${y(row)}H${x(column + 1)}`);
      if (inside(row, column) !== inside(row, column - 1)) path.push(`M${x(column)} ${y(row)}V${y(row + 1)}`);
    }
    return path.join("");
  }

  // How much of each word's map lies at a place, against the highest of that map.
  function pointAt(patch) {
    place = patch;
    clear.hidden = patch === null;
    const shares = words.map((word) => {
      if (patch === null || !mapped(word)) return 0;
      const highest = maps.high[word.index];
      return highest > 0 ? valueAt(maps, word.index, patch) / highest : 0;
    });
    parts.forEach((part, index) => {
      part.style.setProperty("--lit", shares[index].toFixed(2));
      part.classList.toggle("lit", shares[index] >= 0.5);
    });
    const looked = shares.map((share, index) => [share, index]).filter(([share]) => share >= 0.5).sort((a, b) => b[0] - a[0]);
    const here = patch === null ? "" : `row ${Math.floor(patch / columns)}, column ${patch % columns}`;
    const found = looked.flatMap(([share, index], rank) => [rank ? ", " : "", "“", isolated(words[index].text), `” (${share.toFixed(2)} of its highest)`]);
    places.replaceChildren(...(patch === null ? ["Click a place in the picture, and the words that looked there light up."] : looked.length ? [`At ${here} looked: `, ...found, "."] : [`At ${here} no word looked much (half of its highest or more).`]));
    stage.setAttribute("aria-valuenow", patch ?? 0);
    stage.setAttribute("aria-valuetext", patch === null ? "no place chosen" : places.textContent);
    drawOver();
  }

  stage.addEventListener("click", (event) => {
    const bounds = over.getBoundingClientRect();
    pointAt(patchAt(gridOf(inspection), (event.clientX - bounds.left) / bounds.width, (event.clientY - bounds.top) / bounds.height));
  });
  stage.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const from = place ?? Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    const [down, across] = place === null ? [0, 0] : by;
    const row = Math.min(Math.max(Math.floor(from / columns) + down, 0), rows - 1);
    const column = Math.min(Math.max((from % columns) + across, 0), columns - 1);
    pointAt(row * columns + column);
  });

  function start() {
    play.textContent = "Stop";
    shownMap.setAttribute("aria-live", "polite"); // else each word says itself as it has the focus
    choose(at === words.length - 1 ? 0 : at);
    playing = setInterval(() => {
      if (at === words.length - 1) return stop();
      choose(at + 1);
    }, PLAY_PAUSE);
  }
  function stop() {
    clearInterval(playing);
    playing = 0;
    play.textContent = "Play through";
    shownMap.removeAttribute("aria-live");
  }

  const level = `h${options.heading ?? 2}`;
  const view = el("div", { class: "words-view" },
    el("div", { class: "word-left" }, stage, shownMap),
    el("div", { class: "word-right" },
      el(level, { class: "word-heading" }, "Words"),
      sentence,
      supported || measured ? doubtList(inspection.caption, (place) => (stop(), choose(place, true))) : null,
      supported ? null : el("p", { class: "word-without" }, summary),
      places,
      el("div", { class: "word-actions" }, play, clear, truths ? el("label", {}, truthBox, " True region") : null),
      others));
  area.append(view);
  const watcher = new ResizeObserver(() => !closed && drawPicture());
  inspectionImage(inspection).then((bitmap) => {
    if (closed) return;
    image = bitmap;
    watcher.observe(stage);
  });
  pointAt(null);
  choose(at);
  return {
    show: (changed) => choose(Number.parseInt(changed.word, 10) || 0),
    close() {
      closed = true;
      stop();
      watcher.disconnect();
      view.remove();
    },
  };
}

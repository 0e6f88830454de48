// How far the picture supports the words of a caption: which are doubtful and why, and the numbers behind that.

const DOUBTFUL = 0.5; // a word with less support than this is doubtful
const MOST_DOUBTS = 5; // doubtful words that are listed at once; the others behind a button

function isDoubtful(word) {
  return Boolean(word.support) && word.support.probability < DOUBTFUL;
}

// What the picture supports better than a word, and why it has little support, as children of an element.
function whyDoubtful({ support }) {
  const better = support.alternative === null ? [] : [["better supported: “", isolated(support.alternative), "”"]];
  return [...better, ...support.reasons.map((reason) => [isolated(reason)])].flatMap((each, place) => (place ? ["; ", ...each] : each));
}

// The same in plain text, for those who hear it.
function doubtText(word) {
  const { support } = word;
  const better = support.alternative === null ? [] : [`better supported: ${support.alternative}`];
  return ["doubtful", ...better, ...support.reasons].join(", ");
}

// The doubtful words of a caption, the least supported first, each with why; what their support was measured on, or why
// there is none. `choose(place)` is called for one of them.
function doubtList({ words, measured }, choose) {
  const supported = words.filter((word) => word.support);
  const doubtful = words.map((word, place) => [word, place]).filter(([word]) => isDoubtful(word));
  doubtful.sort(([a], [b]) => a.support.probability - b.support.probability);
  const items = doubtful.map(([word, place], rank) =>
    el("li", { hidden: rank >= MOST_DOUBTS },
      el("button", { type: "button", onclick: () => choose(place) }, isolated(word.text)),
      el("span", { class: "word-share" }, probability(word.support.probability)),
      el("span", {}, whyDoubtful(word))));
  const list = el("ul", { class: "word-doubts" }, items);
  const more = items.length > MOST_DOUBTS && el("button", { type: "button", class: "quiet", onclick: () => {
    for (const item of items) item.hidden = false;
    items[MOST_DOUBTS].querySelector("button").focus();
    more.remove();
  } }, `All ${items.length} doubtful words`);
  const count = !doubtful.length
    ? `No word is doubtful: each of the ${supported.length} that claim something has a support of ${DOUBTFUL} or more.`
    : `${doubtful.length} of ${supported.length} words that claim something ${doubtful.length === 1 ? "is" : "are"} doubtful (support below ${DOUBTFUL}):`;
  return el("div", { class: "word-support" },
    supported.length ? el("p", {}, count) : null,
    doubtful.length ? list : null, more,
    measured ? el("p", { class: "note" }, isolated(measured)) : null);
}

function checkText(value) {
  return value === null ? "–" : value.toFixed(3).replace("-0.000", "0.000").replace("-", "−");
}

// The raw checks of a word, behind a line that opens them; `open` says whether they are, and is told.
function checkTable(word, open, onToggle) {
  const rows = Object.entries(word.checks).map(([name, value]) =>
    el("div", {}, el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, checkText(value))));
  const box = el("details", { class: "word-checks", open },
    el("summary", {}, "Raw checks"),
    el("p", { class: "note" }, "Of each, a higher number is a word that the picture supports better; none is a probability."),
    el("dl", { class: "word-facts" }, rows));
  box.addEventListener("toggle", () => onToggle(box.open));
  return box;
}

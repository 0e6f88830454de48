// Parts of the page that lead to the gallery: cells of the matrix, rows of classes and slices, bars, the summary.
// What leads there has a filter as JSON in `data-show`, as the gallery takes it: {"true": 3, "answer": 4}.

function leadToGallery(columns, show) {
  const lead = (event, element) => {
    event.preventDefault();
    show(JSON.parse(element.dataset.show));
  };
  for (const element of document.querySelectorAll(".live, .shows")) element.hidden = false;
  for (const element of document.querySelectorAll("[data-show]")) {
    if (element instanceof SVGElement) {
      element.addEventListener("click", (event) => lead(event, element)); // Enter does the same: readableChart
      continue;
    }
    const hint = element.title ? { "aria-label": `${element.title}. Show them` } : {};
    const button = el("button", { type: "button", class: "show", ...hint, onclick: (event) => lead(event, element) });
    button.append(...element.childNodes);
    element.append(button);
  }
  for (const matrix of document.querySelectorAll(".matrix")) walkMatrix(matrix);
}

// One tab stop for the whole matrix; arrow keys go to the next cell that has a number.
function walkMatrix(matrix) {
  const cells = [...matrix.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((cell) => cell.querySelector("button")));
  const readout = matrix.closest("section").querySelector(".readout");
  readout?.removeAttribute("aria-live"); // each button says the same of itself
  const buttons = cells.flat().filter(Boolean);
  buttons.forEach((button, at) => (button.tabIndex = at ? -1 : 0));
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  matrix.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    let row = cells.findIndex((each) => each.includes(event.target));
    let column = cells[row].indexOf(event.target);
    do {
      row += step[0];
      column += step[1];
    } while (cells[row]?.[column] === null);
    const button = cells[row]?.[column];
    if (!button) return;
    for (const each of buttons) each.tabIndex = -1;
    button.tabIndex = 0;
    button.focus();
  });
  matrix.addEventListener("focusin", (event) => {
    const cell = event.target.closest("[title]");
    if (cell && readout) readout.textContent = cell.title;
  });
}

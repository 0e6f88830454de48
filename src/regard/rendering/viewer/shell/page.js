// What every page can do: sort tables, show maps over pictures more or less, read a matrix's cell out.

function sortingKey(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compareKeys(a, b) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numbers = [Number(a), Number(b)];
  return numbers.some(Number.isNaN) ? a.localeCompare(b, undefined, { numeric: true }) : numbers[0] - numbers[1];
}

// What is not defined stays last in either direction.
function sortTable(table, heading) {
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const keyed = [...table.tBodies[0].rows].map((row) => [sortingKey(row, heading.cellIndex), row]);
  keyed.sort(([a], [b]) => (up || a === "" || b === "" ? compareKeys(a, b) : compareKeys(b, a)));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const heading = event.target.closest("th");
    if (heading?.querySelector("button")) sortTable(table, heading);
  });
}

const mapsBox = document.getElementById("maps");
const strengthSlider = document.getElementById("strength");
function showMaps() {
  const root = document.documentElement;
  root.classList.toggle("no-maps", !mapsBox.checked);
  root.style.setProperty("--strength", strengthSlider.value / 100);
  strengthSlider.disabled = !mapsBox.checked;
}
if (mapsBox) {
  mapsBox.addEventListener("change", showMaps);
  strengthSlider.addEventListener("input", showMaps);
  showMaps(); // a browser may restore the last visit's settings
}

for (const matrix of document.querySelectorAll(".matrix")) {
  const readout = matrix.closest("section").querySelector(".readout");
  const readCell = (event) => {
    const cell = event.target.closest("[title]");
    if (cell) readout.textContent = cell.title;
  };
  matrix.addEventListener("pointerover", readCell);
  matrix.addEventListener("click", readCell);
}

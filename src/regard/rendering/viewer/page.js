// What a page can do: sort tables, show maps over pictures more or less, read a matrix's cell out.
// A plain script, as browsers load no modules from file://.
(() => {
  "use strict";

  function keyOf(row, column) {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  }

  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const numbers = [Number(a), Number(b)];
    return numbers.some(Number.isNaN) ? a.localeCompare(b, undefined, { numeric: true }) : numbers[0] - numbers[1];
  }

  // What is not defined stays last in either direction.
  function sort(table, heading) {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keyed = [...table.tBodies[0].rows].map((row) => [keyOf(row, heading.cellIndex), row]);
    keyed.sort(([a], [b]) => (up || a === "" || b === "" ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const heading = event.target.closest("th");
      if (heading?.querySelector("button")) sort(table, heading);
    });
  }

  const maps = document.getElementById("maps");
  const strength = document.getElementById("strength");
  function showMaps() {
    const root = document.documentElement;
    root.classList.toggle("no-maps", !maps.checked);
    root.style.setProperty("--strength", strength.value / 100);
    strength.disabled = !maps.checked;
  }
  if (maps) {
    maps.addEventListener("change", showMaps);
    strength.addEventListener("input", showMaps);
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
})();

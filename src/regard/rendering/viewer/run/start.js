// What a page of a run has when its script runs: the gallery, the dialog, links to each state, tables that lead there.

// What of the address is the gallery's; the rest, but for `picture`, is the picture view's.
const GALLERY_KEYS = ["find", "true", "answer", "right", "low", "high", "flips", "slice", "sort"];

// Writes what the gallery shows, and which picture is open; leaving a picture takes its state out.
function writePlace(columns, filter, index, push = false) {
  const keys = index === null ? Object.keys(readHash()) : GALLERY_KEYS;
  const none = Object.fromEntries(keys.map((key) => [key, null]));
  writeHash({ ...none, ...filterToState(columns, filter), picture: index === null ? null : columns.name[index] }, push);
}

async function startRun() {
  const pictures = asColumns(typeof fetchPictures === "function" ? await fetchPictures() : (pageIndex.pictures ?? []));
  if (!pictures.n) return;
  const columns = readColumns(pictures, pageIndex.classes);
  const viewer = document.getElementById("viewer");
  const stills = document.getElementById("stills");
  stills?.classList.add("on-paper");
  if (viewer && columns.count === 1) {
    stills?.remove();
    viewer.hidden = false;
    const view = showInspections(viewer, inspectionsOf(columns, 0), readHash());
    onHash(view.show);
    return;
  }
  let filter = {};
  let restoring = false; // what comes of the address is not written into it
  const dialog = pictureDialog(columns, (index) => writePlace(columns, filter, index));
  let shown = null;
  if (columns.count > 1) {
    const section = document.getElementById("gallery") ?? addSection("gallery");
    section.hidden = false;
    section.append(el("h2", {}, "Pictures"));
    shown = gallery(section, columns, dialog.open, (wanted, push = false) => {
      filter = wanted;
      if (!dialog.isOpen() && !restoring) writePlace(columns, filter, null, push);
    });
    leadToGallery(columns, (wanted) => shown.show(wanted, true));
  }
  openCards(columns, dialog);

  function restore() {
    if (location.hash && !location.hash.includes("=")) return; // an anchor in the page
    const state = readHash();
    const index = columns.name.indexOf(state.picture);
    const linked = filterFromState(columns, state);
    restoring = true;
    if (shown) shown.show(linked, index < 0 && Object.keys(linked).length > 0);
    restoring = false;
    if (index >= 0) dialog.open(index, shown?.list().includes(index) ? shown.list() : [index], null, state);
    else dialog.close();
  }
  restore();
  onHash(restore);
}

// A section of its own with its place in the navigation: behind what is about pictures, in a report and in an audit.
function addSection(id) {
  const main = document.getElementById("content");
  const section = el("section", { id });
  const parent = main.querySelector("section")?.parentElement ?? main;
  const behind = document.getElementById("fooled") ? ["left-out", "provenance"] : ["training", "positions", "provenance"];
  const after = behind.map((each) => parent.querySelector(`:scope > #${each}`)).find(Boolean) ?? null;
  parent.insertBefore(section, after);
  const nav = document.querySelector(".bar nav");
  nav?.insertBefore(el("a", { href: `#${id}` }, "Pictures"), (after && nav.querySelector(`a[href="#${after.id}"]`)) ?? null);
  return section;
}

// Cards of pictures that stand in the page open the picture among those of their section.
function openCards(columns, dialog) {
  for (const card of document.querySelectorAll(".card[data-picture]")) {
    const index = Number(card.dataset.picture);
    if (!(index < columns.count)) continue;
    const stage = card.querySelector(".stage");
    const label = `Open ${columns.name[index]}, ${el("span", {}, answerOf(columns, index)).textContent}`;
    const button = el("button", { type: "button", class: "stage", "aria-label": label });
    button.append(...stage.childNodes);
    stage.replaceWith(button);
    button.addEventListener("click", () => {
      const cards = [...card.parentElement.querySelectorAll(":scope > .card[data-picture]")];
      dialog.open(index, cards.map((each) => Number(each.dataset.picture)), (last) =>
        cards.find((each) => Number(each.dataset.picture) === last)?.querySelector("button")?.focus());
    });
  }
}

startCharts();
startRun();

// One picture, over the page: what it was taken for, its view where the page holds one, and the pictures beside it.

// Fills `host` with the view of a picture's inspections (numbers of blocks, or addresses), and, where one has a caption,
// with its words. Returns {show(state), close()}.
function showInspections(host, references, state, options = {}) {
  const handles = references.map((each) => ({ load: () => inspectionOf(each) }));
  const switcher = el("div", { class: "switched" });
  const area = el("div", { class: "view-area" });
  let shown = null;
  let closed = false;
  function start(open) {
    shown?.close();
    area.replaceChildren();
    shown = open();
  }
  host.append(switcher, area);
  const picture = () => openPicture(area, handles, state, writeHash, options);
  inspectionOf(references[0]).then((inspection) => {
    if (closed) return;
    if (!inspection.caption?.words?.length) return start(picture);
    const words = () => captionView(area, inspection, state, writeHash, options);
    if (!mapGroups(inspection).length) return start(words);
    const choice = segmented("View", [["words", "Words"], ["picture", "Picture"]], (which) => {
      choice.show(which);
      start(which === "words" ? words : picture);
    });
    switcher.append(choice);
    choice.buttons.get(state.map ? "picture" : "words").click();
  }).catch((error) => area.append(el("p", { class: "fault" }, error.message)));
  return {
    show: (changed) => shown?.show(changed),
    close() {
      closed = true;
      shown?.close();
      host.replaceChildren();
    },
  };
}

// What of a picture's state stays on the way to the next: how it is looked at, not what was pointed at in it.
const STAYING = ["map", "layer", "head", "repaired", "smooth", "opacity", "colours", "scale"];

// The dialog. `onMove(index)` hears what is shown, null at the end.
function pictureDialog(columns, onMove) {
  let list = [];
  let at = 0;
  let view = null;
  let onClose = null;
  const title = el("h2", { class: "dialog-title", id: "dialog-title" });
  const verdict = el("p", { class: "verdict" });
  const place = el("span", { class: "aside" });
  const previous = el("button", { type: "button", class: "step", onclick: () => step(-1) }, "Previous");
  const next = el("button", { type: "button", class: "step", onclick: () => step(1) }, "Next");
  const close = el("button", { type: "button", class: "step", onclick: () => dialog.close() }, "Close");
  const body = el("div", { class: "dialog-body" });
  const dialog = el("dialog", { class: "picture-dialog", "aria-labelledby": "dialog-title" },
    el("header", { class: "dialog-head" },
      el("div", { class: "dialog-name", "aria-live": "polite" }, title, verdict),
      el("div", { class: "dialog-steps" }, place, previous, next, close)),
    body);
  document.body.append(dialog);

  function step(by) {
    const wanted = at + by;
    if (wanted < 0 || wanted >= list.length) return;
    at = wanted;
    const state = readHash();
    const kept = Object.fromEntries(STAYING.filter((key) => key in state).map((key) => [key, state[key]]));
    onMove(null); // takes out what was of the picture before
    writeHash(kept);
    draw(kept);
    // a button that is off loses the focus: the other one takes it
    if ((by < 0 ? previous : next).disabled && document.activeElement === document.body) (by < 0 ? next : previous).focus();
  }

  function draw(state) {
    const index = list[at];
    view?.close();
    view = null;
    body.replaceChildren();
    title.replaceChildren(isolated(shortName(columns, index)));
    title.title = columns.name[index];
    verdict.replaceChildren(...answerOf(columns, index).filter(Boolean));
    place.textContent = list.length > 1 ? `${grouped(at + 1)} of ${grouped(list.length)}` : "";
    previous.disabled = at === 0;
    next.disabled = at === list.length - 1;
    previous.hidden = next.hidden = list.length < 2;
    const blocks = inspectionsOf(columns, index);
    if (blocks.length) view = showInspections(body, blocks, state, { heading: 3 });
    else body.append(plainPicture(index));
    body.scrollTop = 0;
    onMove(index);
  }

  function plainPicture(index) {
    const address = thumbOf(columns, index);
    const maps = document.querySelector(`[data-explained="${index}"] .gallery`)?.cloneNode(true); // those of an audit
    return el("div", { class: "plain explained" },
      address && !maps ? el("img", { src: address, alt: `The picture ${columns.name[index]}` }) : null,
      maps ?? el("p", { class: "note" }, "This page holds no maps of this picture."));
  }

  dialog.addEventListener("close", () => {
    view?.close();
    view = null;
    body.replaceChildren();
    const index = list[at];
    onMove(null);
    onClose?.(index);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // on the backdrop
  dialog.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key !== "PageUp" && event.key !== "PageDown") return;
    event.preventDefault();
    step(event.key === "PageUp" ? -1 : 1);
  });

  // `back(index)` is told, at the end, which picture was the last: the focus goes there.
  function open(index, among, back = null, state = {}) {
    list = Array.from(among);
    at = Math.max(0, list.indexOf(index));
    onClose = back;
    if (!dialog.open) dialog.showModal();
    draw(state);
    (list.length > 1 && !next.disabled ? next : close).focus();
  }
  return { open, close: () => dialog.open && dialog.close(), isOpen: () => dialog.open };
}

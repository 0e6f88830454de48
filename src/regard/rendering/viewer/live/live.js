// The live page: a picture that is dropped, pasted, chosen or photographed is given to the server, or to the network in
// the page, and what comes back is looked at as in any page. Whatever is changed asks again; the work before is cancelled.

const liveModels = pageIndex.models ?? [];
const liveMethods = new Map((pageIndex.methods ?? []).map((each) => [each.name, each]));
const LIVE_FIRST = ["attention", "legrad", "gradcam", "libra_fullgrad"];
const LIVE_COSTLY = 40; // forwards from which a method is not offered beside the others
const liveInside = Boolean(pageIndex.inside); // the network is in the page
let liveNumber = 0;

function startLive() {
  const host = document.getElementById("live");
  if (!host) return;
  const classifiers = liveModels.filter((each) => each.task === "classification");
  const captioners = liveModels.filter((each) => each.task === "captioning");
  let file = null;
  let view = null;
  let fresh = true; // a picture of which nothing is shown yet
  let running = null; // the AbortController of the work that goes on

  const accept = liveInside ? "image/*" : "image/*,.heic,.heif,.dcm,.dicom";
  const chooser = el("input", { type: "file", accept, hidden: true, onchange: () => take(chooser.files[0]) });
  const camera = el("input", { type: "file", accept: "image/*", capture: "environment", hidden: true, onchange: () => take(camera.files[0]) });
  const thumb = el("img", { alt: "", hidden: true });
  const place = el("p", {}, el("strong", {}, "Drop a picture here"), ", or paste one");
  const chooserButton = el("button", { type: "button", class: "first", onclick: () => chooser.click() }, "Choose a picture");
  const drop = el("div", { class: "drop" }, thumb, place,
    el("div", { class: "drop-buttons" },
      chooserButton,
      el("button", { type: "button", class: "camera", onclick: () => camera.click() }, "Take a photograph")),
    chooser, camera);

  const field = (label, control) => el("label", { class: "field" }, el("span", {}, label), control);
  const model = el("select", { onchange: () => (offer(), look()) });
  fillSelect(model, [["", classifiers.map((each) => [each.name, each.name])]], classifiers[0]?.name);
  const target = el("select", { onchange: () => look() });
  const methods = el("div", { class: "checks" });
  const summary = el("summary", {}, "Methods");
  const curve = el("input", { type: "checkbox", onchange: () => look() });
  const captioner = el("select", {});
  fillSelect(captioner, [["", captioners.map((each) => [each.name, each.name])]], captioners[0]?.name);
  let described = false; // the caption of this picture is in the page
  const check = el("input", { type: "checkbox", onchange: () => described && caption() });
  const describe = el("button", { type: "button", disabled: true, onclick: () => caption() }, "Caption it");
  const again = el("button", { type: "button", hidden: true, onclick: () => look() }, "Look again");
  const asked = el("div", { class: "asked" },
    liveInside && el("p", { class: "note" }, pageIndex.inside.sentence),
    liveInside && pageIndex.inside.chooses && field("Class", target),
    classifiers.length && !liveInside ? [
      field("Model", model), field("Class", target),
      el("details", {}, summary, methods,
        el("label", { class: "also" }, curve, "Measure each map (removal curves; slower)")),
    ] : null,
    captioners.length > 1 ? field("Captions by", captioner) : null,
    captioners.length ? [describe, el("label", { class: "also" }, check, "Check the words of its caption (slower)")] : null);

  const bar = el("progress", { hidden: true, "aria-label": "How far the work is" });
  const stage = el("p", { role: "status" });
  const fault = el("p", { class: "fault", role: "alert" });
  const cancel = el("button", { type: "button", hidden: true, onclick: () => running?.abort() }, "Cancel");
  host.append(el("div", { class: "live" }, drop, asked, el("div", { class: "work" }, bar, stage, cancel, fault, again)));

  function offer() {
    const chosen = classifiers.find((each) => each.name === model.value);
    if (!chosen) return;
    fillSelect(target, [["", [["", "what it predicts"], ...chosen.classes.map((name) => [name, name])]]], "");
    const before = new Set([...methods.querySelectorAll("input:checked")].map((each) => each.value));
    const offered = chosen.methods.filter((name) => {
      const { cost = 1, cost_per: each } = liveMethods.get(name) ?? {};
      return !each && cost > 0 && cost <= LIVE_COSTLY; // those of no cost look at nothing, and are always there
    });
    methods.replaceChildren(...offered.map((name) => {
      const box = el("input", { type: "checkbox", value: name, onchange: () => look() });
      box.checked = before.size ? before.has(name) : LIVE_FIRST.includes(name);
      return el("label", { title: liveMethods.get(name)?.description }, box, name.replaceAll("_", " "));
    }));
    say();
  }

  const ticked = () => [...methods.querySelectorAll("input:checked")].map((each) => each.value);
  function say() {
    const names = ticked().map((each) => each.replaceAll("_", " "));
    setText(summary, `Methods: ${names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ") || "none"}`);
  }

  function take(chosen) {
    if (!chosen) return;
    if (chosen.size > (pageIndex.maxBytes ?? Infinity)) {
      fault.textContent = `This file has ${(chosen.size / 1e6).toFixed(0)} megabytes; the server takes up to ${pageIndex.maxBytes / 1e6}. Make it smaller.`;
      return;
    }
    file = chosen;
    fresh = true;
    described = false;
    for (const each of [chooser, camera]) each.value = ""; // the same file may be chosen again
    place.replaceChildren(el("bdi", {}, file.name || "a pasted picture"));
    describe.disabled = false;
    host.firstChild.classList.add("filled");
    chooserButton.textContent = "Choose another";
    chooserButton.classList.remove("first");
    if (thumb.src) URL.revokeObjectURL(thumb.src);
    thumb.src = URL.createObjectURL(file);
    thumb.hidden = false;
    document.getElementById("sentence").hidden = true;
    if (classifiers.length) look();
    else caption();
  }
  thumb.addEventListener("error", () => (thumb.hidden = true));

  // One piece of work at a time; what was asked before is cancelled. `show(answer)` gets what came.
  // Of several askings in turn each is shown as it comes: the quick one first.
  async function work(askings, show) {
    running?.abort();
    const control = new AbortController();
    running = control;
    fault.textContent = "";
    again.hidden = true;
    bar.hidden = cancel.hidden = false;
    bar.removeAttribute("value");
    stage.textContent = "sending";
    try {
      let answer = null;
      for (const fields of askings) {
        answer = await askInspection(fields, file, control.signal, (each) => {
          stage.textContent = each.total > 1 ? `${each.stage}, ${each.done + 1} of ${each.total}` : each.stage;
          if (each.total > 1) bar.value = each.done / each.total;
        });
        if (running !== control) return;
        show(answer);
      }
      stage.textContent = answer.notes?.length ? answer.notes.join(" ") : "";
    } catch (error) {
      if (running !== control) return;
      again.hidden = !classifiers.length;
      stage.textContent = control.signal.aborted ? "cancelled" : "";
      if (!control.signal.aborted) fault.textContent = error.message;
    } finally {
      if (running === control) {
        bar.hidden = cancel.hidden = true;
        running = null;
      }
    }
  }

  function hold(answer) {
    droppedInspections.clear(); // pages that stay open must not grow
    liveNumber += 1;
    droppedInspections.set(`live:${liveNumber}`, answer.inspection);
    return `live:${liveNumber}`;
  }

  function look() {
    const chosen = ticked();
    say();
    if (!file || !classifiers.length) return;
    if (!chosen.length && !liveInside) {
      fault.textContent = "No method is chosen; choose one or more.";
      return;
    }
    const fields = { model: model.value, method: chosen.join(","), target: target.value, curve: curve.checked };
    const quick = { model: model.value, method: "attention" };
    const whole = liveInside || !fresh || (chosen.join(",") === "attention" && !curve.checked);
    fresh = false;
    work(whole ? [fields] : [quick, fields], (answer) => {
      const section = document.getElementById("viewer");
      const state = view ? readHash() : (pageIndex.inside?.first ?? {});
      view?.close();
      section.hidden = false;
      if (liveInside && target.value) Object.assign(state, { of: target.value, vs: null });
      view = showInspections(section, [hold(answer)], state);
    });
  }

  function caption() {
    if (!file) return;
    work([{ model: captioner.value, check: check.checked && "quick" }], (answer) => {
      described = true;
      const section = document.getElementById("sentence");
      section.replaceChildren(el("h2", {}, "Caption"));
      section.hidden = false;
      showInspections(section, [hold(answer)], {});
      section.scrollIntoView({ block: "nearest" });
    });
  }

  for (const name of ["dragenter", "dragover"]) {
    window.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  window.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  window.addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])][0]));
  window.addEventListener("beforeunload", () => running?.abort());
  offer();
  if (!liveInside) return;
  stage.textContent = "The network is being unpacked …";
  const settle = (text, wrong) => {
    if (running) return; // a picture came first, and hears the same
    stage.textContent = text;
    fault.textContent = wrong;
  };
  insideReady().then(() => settle("Ready.", ""), (error) => settle("", error.message));
}

startLive();

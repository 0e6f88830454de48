// Elements, and the state of the page in its address.

// An element with attributes (null and false leave one out, "onclick" and its like listen) and children. What is text
// becomes a text node, never markup.
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svgEl(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Text that changes only where it differs, so that nothing is laid out in vain.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// A choice of few as buttons side by side: options are [value, text, hint?]; `choose` is told the value. Returns the
// group; its `show(value, disabled = {value: reason})` marks the choice.
function segmented(label, options, choose) {
  const buttons = new Map();
  for (const [value, text, hint] of options) {
    const button = el("button", { type: "button", title: hint, onclick: () => choose(value) }, text);
    buttons.set(value, button);
  }
  const group = el("div", { class: "look-choice", role: "group", "aria-label": label }, [...buttons.values()]);
  group.show = (chosen, disabled = {}) => {
    for (const [value, button] of buttons) {
      setAttribute(button, "aria-pressed", String(value === chosen));
      setDisabled(button, disabled[String(value)]);
    }
  };
  group.buttons = buttons;
  return group;
}

// Greys a control and says why in its title; with "" or nothing it works.
function setDisabled(control, reason) {
  if (control.plainTitle === undefined) control.plainTitle = control.title;
  control.disabled = Boolean(reason);
  setAttribute(control, "title", reason || control.plainTitle || null);
}

// The options of a <select>: groups are [label or "", [[value, text, reason it is greyed?], ...]].
function fillSelect(select, groups, chosen) {
  const signature = JSON.stringify(groups);
  if (select.signature !== signature) {
    select.signature = signature;
    const nodes = groups.map(([label, options]) => {
      const items = options.map(([value, text, reason]) =>
        el("option", { value, disabled: Boolean(reason), title: reason }, reason ? `${text} (not in this file)` : text),
      );
      return label ? el("optgroup", { label }, items) : items;
    });
    select.replaceChildren(...nodes.flat());
  }
  select.value = chosen;
}

// The state in the hash: key=value&key=value. A plain #anchor is nobody's state.
function readHash() {
  const text = location.hash.slice(1);
  return text.includes("=") ? Object.fromEntries(new URLSearchParams(text)) : {};
}

// Changes keys of the state (null removes one) and leaves those of others; `push` makes a step for "back".
function writeHash(changes, push = false) {
  const state = { ...readHash(), ...changes };
  const pairs = Object.entries(state).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(pairs).toString();
  if (text === location.hash.slice(1)) return;
  const address = text ? `#${text}` : location.pathname + location.search;
  try {
    history[push ? "pushState" : "replaceState"](null, "", address);
  } catch {
    // a frame without an address of its own, or too many changes a second: the view works without
  }
}

// Calls `listener(state)` when the reader goes back, forward, or edits the address; returns what ends that.
function onHash(listener) {
  const heard = () => listener(readHash());
  window.addEventListener("popstate", heard);
  window.addEventListener("hashchange", heard);
  return () => {
    window.removeEventListener("popstate", heard);
    window.removeEventListener("hashchange", heard);
  };
}

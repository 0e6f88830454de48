// What parts of a run's page share: names from outside, numbers in words, one voice for screen readers.

// A text from outside, set apart, so that its direction does not turn the text around it.
function isolated(text, attributes = {}) {
  return el("bdi", attributes, text);
}

function grouped(number) {
  return number.toLocaleString("en-GB").replaceAll(",", "\u202f");
}

function plural(count, one, many = `${one}s`) {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

const voice = el("p", { class: "unseen", role: "status" });
document.body.append(voice);
let speaking = 0;
// Said once after a pause, so that a hurried reader is not read every step.
function announce(text, pause = 150) {
  clearTimeout(speaking);
  speaking = setTimeout(() => setText(voice, text), pause);
}

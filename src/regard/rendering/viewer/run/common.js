// What parts of a run's page share: names from outside, numbers in words.

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

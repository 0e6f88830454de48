"""What the network in a page answers, value by value: asked of a worker of the page's own code and parts."""

import base64

import numpy as np

START = """async () => {
  const code = document.getElementById("inside-code").textContent;
  const worker = new Worker(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
  const { inside: { preparation, input } } = JSON.parse(document.getElementById("data").textContent);
  const part = (name) => ({text: document.getElementById(`inside-${name}`).textContent});
  window.askWorker = (message) => new Promise((done) => {
    worker.onmessage = ({data}) => data.stage || done(data);
    worker.postMessage(message);
  });
  const start = {id: 1, kind: "start", runtime: part("runtime"), network: part("network")};
  return (await askWorker({...start, settings: {preparation, input}})).error ?? null;
}"""
LOOK = """async ([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  const start = performance.now();
  const { error, result } = await askWorker({id: 2, kind: "look", file: new File([bytes], name)});
  if (error) return { error };
  const seconds = (performance.now() - start) / 1000;
  const letters = (array) => {
    const view = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    return btoa(Array.from(view, (byte) => String.fromCharCode(byte)).join(""));
  };
  const outputs = Object.fromEntries(
    Object.entries(result.outputs).map(([key, { data, shape }]) => [key, [letters(data), shape]]));
  return { seconds, outputs, pixels: letters(result.pixels), picture: result.picture, box: result.box };
}"""


class Answers:
    """The network of a page that is open; calling it gives the outputs of a picture's bytes by name, with `pixels`
    (height, width, 3), `seconds`, `picture` and `box`."""

    def __init__(self, page, preparation):
        self.page = page
        self.shape = (preparation.height, preparation.width, 3)
        error = page.evaluate(START)
        assert error is None, error

    def __call__(self, content, name="picture"):
        answer = self.page.evaluate(LOOK, [base64.b64encode(content).decode(), name])
        assert "error" not in answer, answer
        outputs = {
            key: np.frombuffer(base64.b64decode(text), np.float32).reshape(shape)
            for key, (text, shape) in answer.pop("outputs").items()
        }
        pixels = np.frombuffer(base64.b64decode(answer.pop("pixels")), np.uint8).reshape(self.shape)
        return {**answer, **outputs, "pixels": pixels}

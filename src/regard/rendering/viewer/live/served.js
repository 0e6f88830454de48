// What pages that a server gave ask it for. Shared code never fetches by itself.

// What went wrong, in the server's own line where it says one.
async function refusalOf(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return `the server answered ${response.status}; try again`;
  }
}

fetchInspection = async (address) => {
  const response = await fetch(address, { headers: { accept: "application/vnd.regard.inspection" } });
  if (response.ok) return new Uint8Array(await response.arrayBuffer());
  const error = new Error(await refusalOf(response));
  error.plain = true;
  throw error;
};

// Sends a form and hears the stages of the work; what is answered comes back. Aborting the signal cancels the work.
async function askWithStages(address, form, signal, onStage) {
  const response = await fetch(address, { method: "POST", body: form, signal, headers: { accept: "text/event-stream" } });
  if (!response.ok) throw new Error(await refusalOf(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [name, data] = event.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      const content = JSON.parse(data);
      if (name === "stage") onStage(content);
      else if (name === "error") throw new Error(content.error);
      else return content;
    }
  }
  throw new Error("the server went away before it had answered; try again");
}

askInspection = async (fields, file, signal, onStage) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value !== "" && value !== false) form.append(name, value);
  form.append("picture", file, file.name || "pasted picture");
  const { inspection, notes } = await askWithStages("/api/inspect", form, signal, onStage);
  return { inspection: bytesOf(inspection), notes };
};

// Talks to the server that this page came from, and to no other.

const dialog = document.querySelector("#key");
let key = sessionStorage.getItem("sightline-key") || "";
let asking = null;

/** What the server said no with. */
export class Refused extends Error {
  constructor(status, error, detail) {
    super(detail || error);
    this.status = status;
    this.error = error;
  }
}

/** Asks for the key, once for all requests that need it; leaving the dialog with Escape gives up. */
function askForKey(wrong) {
  asking ??= new Promise((resolve, reject) => {
    document.querySelector("#key-wrong").textContent = wrong ? "That key was not accepted." : "";
    const field = document.querySelector("#key-value");
    field.value = "";
    dialog.addEventListener("close", () => {
      asking = null;
      if (!field.value) return reject(new Refused(401, "no_key", "This server requires a key."));
      key = field.value;
      sessionStorage.setItem("sightline-key", key);
      field.value = "";
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Sends a request; waits and tries again while the server is busy. Returns [status, the answer's JSON]. */
export async function call(path, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const shown = key;
    const headers = { ...options.headers, ...(shown ? { "X-API-Key": shown } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused(0, "unreachable", "The server cannot be reached. Is it still running?");
    }
    if (response.status === 401 && dialog) {
      if (shown === key) await askForKey(Boolean(shown));
      continue;
    }
    if (response.status === 429 && attempt < 20) {
      await sleep(1000 * Number(response.headers.get("Retry-After") || 1));
      continue;
    }
    let content = {};
    try {
      content = await response.json();
    } catch {
      throw new Refused(response.status, "no_json", `The server answered ${response.status}.`);
    }
    if (!response.ok && !content.predictions) throw new Refused(response.status, content.error, content.detail);
    return content;
  }
}

export const send = (path, image) =>
  call(path, { method: "POST", body: image, headers: { "Content-Type": "application/octet-stream" } });

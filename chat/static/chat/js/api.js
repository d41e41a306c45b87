// The HTTP API as this page uses it. What fails is an ApiError (the server answered no) or an Unreachable.

const base = `${document.body.dataset.home}api/`;

export class ApiError extends Error {
  constructor(status, { code = "error", message = `The server answered ${status}.` } = {}) {
    super(status === 401 ? "Your session has ended. What you typed is kept." : message);
    this.status = status;
    this.code = code;
  }

  // Nothing was written, and the same request may go through later.
  get isPassing() {
    return this.status >= 500 || this.status === 429;
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
  }

  get isPassing() {
    return true;
  }
}

export const threads = (next, signal) => read(next ? local(next) : `${base}threads/?limit=30`, signal);

export const thread = (id, signal) => read(`${base}threads/${id}/`, signal);

// All that is needed to draw a thread and to join it.
export const state = (threadId, signal) => read(`${base}threads/${encodeURIComponent(threadId)}/state/`, signal);

export const messages = (page, signal) => read(local(page), signal);

export const socketUrl = (threadId, cursor) => {
  const url = new URL(`${document.body.dataset.home}ws/threads/${encodeURIComponent(threadId)}/?after=${cursor}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
};

// The response whose body is the turn's stream. The message's id is the turn's name: sent again, it is the same turn,
// not a second one. Where another turn is live, this one waits for its end; or, with `onBusy` "stop", ends it.
export const send = (threadId, messageId, text, onBusy) =>
  request(`${base}chat`, {
    method: "POST",
    body: JSON.stringify({
      id: threadId,
      messages: [{ id: messageId, role: "user", parts: [{ type: "text", text }] }],
      trigger: "submit-message",
      on_busy: onBusy,
    }),
  });

// The response whose body is what follows the cursor in a turn's stream.
export const follow = (turn, cursor, signal) => request(`${base}turns/${turn}/stream?after=${cursor}`, { signal });

// Says what was decided about a call that a turn waits for.
export const decide = (turn, call, decision) =>
  request(`${base}turns/${turn}/approvals/`, {
    method: "POST",
    body: JSON.stringify({ decisions: [{ tool_call_id: call, ...decision }] }),
  });

// Stops a live turn, cancels one that waits.
export const stop = (turn) => request(`${base}turns/${turn}/stop`, { method: "POST", body: "{}" });

async function read(url, signal) {
  const response = await request(url, { signal });
  return response.json();
}

async function request(url, options) {
  let response;
  try {
    response = await fetch(url, {
      credentials: "same-origin",
      headers: { accept: "application/json, text/event-stream", ...(options.body && { "content-type": "application/json" }) },
      ...options,
    });
  } catch (error) {
    throw options.signal?.aborted ? error : new Unreachable();
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return response;
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return undefined; // a proxy's own page, say
  }
}

// Behind a proxy the server may know itself by another name: of its links only the path counts.
function local(link) {
  const { pathname, search } = new URL(link, location.href);
  return pathname + search;
}

// The HTTP API as this page uses it. What fails is an ApiError (the server answered no) or an Unreachable.

const base = `${document.body.dataset.home}api/`;

export class ApiError extends Error {
  constructor(status, { code = "error", message = `The server answered ${status}.` } = {}) {
    super(status === 401 ? "Your session has ended." : message);
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

export const messages = (threadId, next, signal) =>
  read(next ? local(next) : `${base}threads/${threadId}/messages/?limit=50`, signal);

// The response whose body is the turn's stream. The message's id is the turn's name: sent again, it is the
// same turn, not a second one.
export const send = (threadId, messageId, text, signal) =>
  request(`${base}chat`, {
    method: "POST",
    body: JSON.stringify({
      id: threadId,
      messages: [{ id: messageId, role: "user", parts: [{ type: "text", text }] }],
      trigger: "submit-message",
    }),
    signal,
  });

// The live turn's stream after `cursor`, or from its start; null where no turn is live.
export async function resume(threadId, cursor, signal) {
  const after = cursor ? `?after=${encodeURIComponent(cursor)}` : "";
  const response = await request(`${base}chat/${encodeURIComponent(threadId)}/stream${after}`, { signal });
  return response.status === 204 ? null : response;
}

export const stop = (threadId) =>
  request(`${base}chat/${encodeURIComponent(threadId)}/stop`, { method: "POST", body: "{}" });

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

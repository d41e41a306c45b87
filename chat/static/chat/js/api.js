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

// Answers come with their texts as HTML, and messages with the ids of their versions.
const AS_SHOWN = "html=true&versions=true";

export const threads = (next, archived = false) =>
  read(next ? local(next) : `${base}threads/?limit=30&archived=${archived}`);

export const changeThread = (id, change) =>
  request(`${base}threads/${id}/`, { method: "PATCH", body: JSON.stringify(change) });

// It can be taken back, until it is purged.
export const deleteThread = (id) => request(`${base}threads/${id}/`, { method: "DELETE", body: "{}" });

export const restoreThread = (id) => request(`${base}threads/${id}/restore/`, { method: "POST", body: "{}" });

export const search = (words, signal) => read(`${base}search/?limit=30&q=${encodeURIComponent(words)}`, signal);

export const exportUrl = (id, format) => `${base}threads/${id}/export/?format=${format}`;

export const thread = (id, signal) => read(`${base}threads/${id}/`, signal);

// All that is needed to draw a thread and to join it.
export const state = (threadId, signal) => 
  read(`${base}threads/${encodeURIComponent(threadId)}/state/?${AS_SHOWN}`, signal);

export const message = (id) => read(`${base}messages/${id}/?${AS_SHOWN}`);

// Makes a version of a message the current one, with what followed it.
export const restoreMessage = (id) => request(`${base}messages/${id}/restore/`, { method: "POST", body: "{}" });

export const messages = (page, signal) => read(local(page), signal);

export const socketUrl = (threadId, cursor) => {
  const url = new URL(`${document.body.dataset.home}ws/threads/${encodeURIComponent(threadId)}/?after=${cursor}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
};

// The response whose body is the turn's stream. The message's id is the turn's name: sent again, it is the same turn,
// not a second one. Where another turn is live, this one waits for its end; or, with `onBusy` "stop", ends it.
export const send = (threadId, messageId, parts, onBusy) =>
  request(`${base}chat`, {
    method: "POST",
    body: JSON.stringify({
      id: threadId,
      messages: [{ id: messageId, role: "user", parts }],
      trigger: "submit-message",
      on_busy: onBusy,
    }),
  });

// Another answer (`regenerate-message`), or another version of a message (`submit-message`). `turn` names the turn: sent
// again, it is the same one.
export const revise = (threadId, turn, messageId, trigger, messages = []) =>
  request(`${base}chat`, {
    method: "POST",
    body: JSON.stringify({ id: threadId, turn_id: turn, messageId, trigger, messages, on_busy: "reject" }),
  });

// The response whose body is what follows the cursor in a turn's stream.
export const follow = (turn, cursor, signal) => request(`${base}turns/${turn}/stream?after=${cursor}`, { signal });

// Says what was decided about a call that a turn waits for.
export const decide = (turn, call, decision) =>
  request(`${base}turns/${turn}/approvals/`, {
    method: "POST",
    body: JSON.stringify({ decisions: [{ tool_call_id: call, ...decision }] }),
  });

// A new thread of one's own with what was said up to and with a message.
export const fork = async (threadId, messageId) =>
  (await post(`threads/${threadId}/fork/`, { message_id: messageId })).json();

// The links to a thread that one has made; a new one, whose secret is told once.
export const shares = async (threadId) => (await read(`${base}threads/${threadId}/shares/`)).results;

export const share = async (threadId, days) => (await post(`threads/${threadId}/shares/`, { days })).json();

export const revokeShare = (id) => request(`${base}shares/${id}/`, { method: "DELETE", body: "{}" });

// What one thinks of a thread's answers, and of one of them.
export const feedback = async (threadId) => (await read(`${base}threads/${threadId}/feedback/`)).results;

export const giveFeedback = (messageId, rating, comment) =>
  request(`${base}messages/${messageId}/feedback/`, { method: "PUT", body: JSON.stringify({ rating, comment }) });

export const takeFeedbackBack = (messageId) =>
  request(`${base}messages/${messageId}/feedback/`, { method: "DELETE", body: "{}" });

// Keeps a file. A form, unlike JSON, needs the token that the page was made with.
export const upload = async (file, signal) => {
  const form = new FormData();
  form.append("file", file);
  const headers = { "x-csrftoken": document.querySelector("[name=csrfmiddlewaretoken]").value };
  return (await request(`${base}attachments/`, { method: "POST", body: form, headers, signal })).json();
};

export const deleteFile = (id) => request(`${base}attachments/${id}/`, { method: "DELETE", body: "{}" });

// Whether it is the address of a file that somebody has uploaded here.
export const isUploaded = (url) => url.startsWith(`${base}attachments/`);

// Stops a live turn, cancels one that waits.
export const stop = (turn) => request(`${base}turns/${turn}/stop`, { method: "POST", body: "{}" });

async function read(url, signal) {
  const response = await request(url, { signal });
  return response.json();
}

const post = (path, body) => request(base + path, { method: "POST", body: JSON.stringify(body) });

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

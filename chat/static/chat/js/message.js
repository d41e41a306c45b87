// One message: the person's, or the answer to it. `data-message-id` is the client's id until the server tells its own
// (`data-known`).

import * as api from "./api.js";
import { Answer } from "./fold.js";
import { clone, partView, says } from "./parts.js";

// 16 random hexadecimal digits. (crypto.randomUUID exists only under HTTPS.)
export const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const INTERRUPTED = "Interrupted: the answer is not complete. What was written until then is kept.";

// How one goes on after an answer that is not complete: another one in its place, or a message that asks for the rest.
const AGAIN = { label: "Try again", done: "regenerate" };
const ON = { label: "Continue", done: "continue" };

const PAUSES = [500, 2000, 5000, 10000, 30000]; // milliseconds between tries to have an answer as the server renders it

const DOLLARS = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", maximumSignificantDigits: 2 });

const FINISH_REASONS = {
  length: "The answer ended at the model’s length limit.",
  "content-filter": "The answer was cut off by the model’s content filter.",
};

class Message {
  constructor(template, id, known) {
    this.element = clone(template);
    this.element.dataset.messageId = id;
    if (known) this.element.dataset.known = "";
  }

  get id() {
    return this.element.dataset.messageId;
  }

  // The server's name for it. Until then it has one that this client made up.
  know(id) {
    this.element.dataset.messageId = id;
    this.element.dataset.known = "";
  }

  get place() {
    return this.element.querySelector(".notice-place");
  }

  // Shows which of its versions it is, and lets one choose another.
  set versions(ids = []) {
    const place = ids.indexOf(this.id);
    const chooser = this.element.querySelector(".versions");
    chooser.hidden = ids.length < 2 || place < 0;
    if (chooser.hidden) return;
    chooser.querySelector(".versions-place").textContent = `${place + 1} / ${ids.length}`;
    const [earlier, later] = chooser.querySelectorAll("button");
    for (const [button, id] of [[earlier, ids[place - 1]], [later, ids[place + 1]]]) {
      button.disabled = id === undefined;
      button.dataset.version = id ?? "";
    }
  }

  // What the person thinks of it: "up", "down" or nothing.
  set rating(rating) {
    for (const button of this.element.querySelectorAll("[data-rating]")) {
      button.setAttribute("aria-pressed", button.dataset.rating === rating);
    }
  }

  // Shows a line below the message, in the place of an earlier one; null takes it away. `action`: {label} and what to
  // {run}, or the name of what is {done} to the message (see Revisions).
  notice(look, text, action) {
    if (text === null) return this.place.replaceChildren();
    const line = clone("notice");
    line.dataset.look = look;
    if (look === "waiting") line.querySelector("use").setAttribute("href", "#icon-wait");
    line.querySelector(".notice-text").textContent = text;
    if (action) {
      const button = line.querySelector(".notice-action");
      button.textContent = action.label;
      button.hidden = false;
      if (action.done) button.dataset.action = action.done;
      else button.addEventListener("click", () => action.run(button));
    }
    return this.place.replaceChildren(line);
  }
}

export class UserMessage extends Message {
  constructor(id, parts, known) {
    super("user-message", id, known);
    this.parts = parts;
    this.text = parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");
    this.files = parts.filter((part) => part.type === "file");
    for (const part of parts) addPart(this.element.querySelector(part.type === "file" ? ".files" : ".bubble"), part);
  }
}

export class AssistantMessage extends Message {
  #views = new Map(); // part -> its view
  #changed = new Set(); // parts to draw in the next frame
  #frame = 0;

  // With `stored`, a message of the history; without, an answer that streams.
  constructor(id, stored, known = Boolean(stored)) {
    super("assistant-message", id, known);
    this.answer = new Answer();
    if (stored) {
      Object.assign(this.answer, { parts: stored.parts, metadata: stored.metadata ?? {}, usage: stored.usage });
      this.finish(stored);
    } else {
      this.element.setAttribute("aria-busy", "true"); // read out once it is whole, not word by word
    }
  }

  take(chunk) {
    if (chunk.type === "start" && this.answer.metadata.status !== "awaiting_approval") this.#restart();
    const part = this.answer.apply(chunk);
    if (!part) return;
    this.#changed.add(part);
    this.#frame ||= requestAnimationFrame(() => this.#draw()); // many tokens, one layout
  }

  // Nothing more will come. `stored`: the message as the API tells it, where it is known.
  finish(stored) {
    this.rest();
    this.ask([]);
    this.#tellEnd();
    this.#tellUsage();
    this.#dress(stored);
  }

  // What it says, as it can be pasted elsewhere.
  get text() {
    return this.#texts.map((part) => part.text).join("\n\n");
  }

  get #texts() {
    return this.answer.parts.filter((part) => part.type === "text");
  }

  // Shows the texts as the server renders them. What cannot be had stays as it is: the words are the same.
  async #dress(stored) {
    const { answer } = this;
    stored ??= await this.#stored();
    if (!stored) return;
    if (answer !== this.answer || stored.html?.length !== this.#texts.length) return;
    this.#texts.forEach((part, index) => this.#views.get(part)?.dress(stored.html[index]));
    this.versions = stored.versions;
  }

  // Itself, as the API tells it, as soon as that can be asked; nothing where that takes too long.
  async #stored() {
    for (const pause of PAUSES) {
      try {
        return await api.message(this.id);
      } catch (error) {
        if (!error.isPassing) return null;
        await new Promise((resolve) => setTimeout(resolve, pause));
        if (!this.element.isConnected) return null; // another thread is on the page
      }
    }
    return null;
  }

  // Nothing more comes until somebody has decided.
  rest() {
    this.answer.parts.forEach((part) => this.#changed.add(part));
    this.#draw();
    this.element.removeAttribute("aria-busy");
  }

  // Asks for decisions on these calls, and on no others.
  ask(calls, decide) {
    for (const [part, view] of this.#views) {
      if (!part.toolCallId) continue;
      const call = calls.find((one) => one.tool_call_id === part.toolCallId);
      view.ask(call, (decision) => decide(call, decision));
    }
  }

  // Nothing more can be read for now, whatever the server goes on doing.
  lost(reason) {
    this.#draw();
    this.element.removeAttribute("aria-busy");
    this.notice("quiet", reason);
  }

  // A replay begins with `start` and tells the whole answer again.
  #restart() {
    this.answer = new Answer();
    this.#views.clear();
    this.#changed.clear();
    this.element.querySelector(".parts").replaceChildren();
    this.notice(null, null);
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    for (const part of this.#changed) {
      if (!this.#views.has(part)) {
        this.#views.set(part, addPart(this.element.querySelector(".parts"), part));
      } else {
        this.#views.get(part)?.update(part);
      }
    }
    this.#changed.clear();
  }

  #tellEnd() {
    const { status = "completed", error_text: error, finish_reason: reason } = this.answer.metadata;
    const isEmpty = !this.answer.parts.some(says);
    const onward = isEmpty ? AGAIN : ON;
    if (status === "failed") this.notice("failed", error || "The answer failed.", AGAIN);
    else if (status === "stopped") this.notice("quiet", isEmpty ? "Stopped before an answer." : "Stopped.", onward);
    else if (status === "interrupted") {
      this.notice("quiet", isEmpty ? "Interrupted before an answer." : INTERRUPTED, onward);
    } else if (FINISH_REASONS[reason]) this.notice("quiet", FINISH_REASONS[reason], reason === "length" ? ON : undefined);
    else if (status === "completed" && isEmpty) this.notice("quiet", "No answer.", AGAIN);
  }

  #tellUsage() {
    const { total_tokens: total, prompt_tokens: read, completion_tokens: written, cost_micros: cost } = this.answer.usage ?? {};
    const { model, timing } = this.answer.metadata;
    const facts = [
      model,
      total && `${read.toLocaleString()} tokens in, ${written.toLocaleString()} out`,
      cost && DOLLARS.format(cost / 1_000_000),
      timing?.duration_ms !== undefined && `${(timing.duration_ms / 1000).toFixed(1)} s`,
    ].filter(Boolean);
    const line = this.element.querySelector(".usage");
    line.textContent = facts.join(" · ");
    line.hidden = !facts.length;
  }
}

// The new part's view, at the end of `parent`; null for a part that is not shown.
function addPart(parent, part) {
  const view = partView(part);
  if (!view) return null;
  view.update(part);
  parent.append(view.element);
  return view;
}

// A message of the history.
export function storedMessage(stored) {
  if (stored.role === "assistant") return new AssistantMessage(stored.id, stored);
  const message = new UserMessage(stored.id, stored.parts, true);
  message.versions = stored.versions;
  return message;
}

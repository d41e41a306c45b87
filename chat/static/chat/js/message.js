// One message: the person's, or the answer to it. `data-message-id` is the client's id until the server tells its own
// (`data-known`).

import { Answer } from "./fold.js";
import { clone, partView, says } from "./parts.js";

// 16 random hexadecimal digits. (crypto.randomUUID exists only under HTTPS.)
export const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const INTERRUPTED = "Interrupted: the answer is not complete. What was written until then is kept.";

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

  // Shows a line below the message, in the place of an earlier one; null takes it away. `action`: {label, run}.
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
      button.addEventListener("click", () => action.run(button));
    }
    return this.place.replaceChildren(line);
  }
}

export class UserMessage extends Message {
  constructor(id, parts, known) {
    super("user-message", id, known);
    this.text = parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");
    const bubble = this.element.querySelector(".bubble");
    for (const part of parts) addPart(bubble, part);
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
      this.finish();
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

  // Nothing more will come.
  finish() {
    this.rest();
    this.ask([]);
    this.#tellEnd();
    this.#tellUsage();
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
    const tell = (look, text) => this.notice(look, text);
    if (status === "failed") tell("failed", error || "The answer failed.");
    else if (status === "stopped") tell("quiet", isEmpty ? "Stopped before an answer." : "Stopped.");
    else if (status === "interrupted") tell("quiet", isEmpty ? "Interrupted before an answer." : INTERRUPTED);
    else if (FINISH_REASONS[reason]) tell("quiet", FINISH_REASONS[reason]);
    else if (status === "completed" && isEmpty) tell("quiet", "No answer.");
  }

  #tellUsage() {
    const { prompt_tokens: read, completion_tokens: written, total_tokens: total } = this.answer.usage ?? {};
    if (!total) return;
    const line = this.element.querySelector(".usage");
    line.textContent = `${total.toLocaleString()} tokens · ${read.toLocaleString()} in, ${written.toLocaleString()} out`;
    line.hidden = false;
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
  return new UserMessage(stored.id, stored.parts, true);
}

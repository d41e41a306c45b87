// What a person does with messages that are there: copy, answer once more, edit, go to another version or on in a thread
// of its own.

import * as api from "./api.js";
import { announce } from "./announce.js";
import { newId } from "./message.js";
import { clone } from "./parts.js";

const COPIED = 1500; // milliseconds for which a button says so
const CONTINUE = "Go on from where you stopped.";

export class Revisions {
  #log;
  #on;

  // `on`: {thread(), changed(), failed(error), ask(text), forked(thread)}
  constructor(pane, log, on) {
    this.#log = log;
    this.#on = on;
    pane.addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      const message = button && log.of(button);
      if (message) this.#act(button, message);
    });
  }

  // Another answer that is not complete takes no place: the one before is current, unless this was stopped in its middle.
  ended({ trigger, status }) {
    if (trigger !== "regenerate" || status === "completed") return;
    if (status === "failed") this.#on.failed(new Error("The new answer failed. The one before it is kept."));
    this.#on.changed();
  }

  async #act(button, message) {
    const { action, version } = button.dataset;
    if (action === "copy") return this.#copy(button, message.text);
    if (action === "copy-code") return this.#copy(button, button.closest(".code-frame").querySelector("pre").textContent);
    if (action === "edit") return this.#edit(message);
    if (action === "continue") return this.#on.ask(CONTINUE);
    button.disabled = true; // one click, one turn
    if (action === "regenerate") await this.#attempt(() => this.#revise(newId(), message.id, "regenerate-message"));
    if (action === "version") await this.#attempt(() => api.restoreMessage(version));
    if (action === "fork") await this.#fork(message);
    button.disabled = false;
    return undefined;
  }

  async #copy(button, text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return this.#on.failed(new Error("This browser does not let the page copy."));
    }
    button.dataset.done = "";
    setTimeout(() => delete button.dataset.done, COPIED);
    return announce("Copied.");
  }

  async #fork(message) {
    try {
      this.#on.forked(await api.fork(this.#on.thread(), message.id));
    } catch (error) {
      this.#on.failed(error);
    }
  }

  #edit(message) {
    const { element } = message;
    if (element.querySelector(".editor")) return;
    const form = clone("editor");
    const box = form.querySelector("textarea");
    box.value = message.text;
    const close = () => {
      form.remove();
      element.removeAttribute("data-edited");
      element.querySelector('[data-action="edit"]').focus();
    };
    const [turn, name] = [newId(), newId()]; // a second try is the same edit
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const text = box.value.trim();
      if (!text) return;
      const parts = [{ type: "text", text }, ...message.files];
      const edited = { id: name, role: "user", parts };
      if (await this.#attempt(() => this.#revise(turn, message.id, "submit-message", [edited]))) form.remove();
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.querySelector('[type="button"]').addEventListener("click", close);
    element.dataset.edited = "";
    element.querySelector(".bubble").after(form);
    box.focus();
  }

  // The thread's own news tell what becomes of it: nobody needs this stream, and to leave is no stop.
  async #revise(...revision) {
    const response = await api.revise(this.#on.thread(), ...revision);
    await response.body.cancel();
  }

  // Returns whether it worked.
  async #attempt(work) {
    try {
      await work();
    } catch (error) {
      this.#on.failed(error);
      return false;
    }
    await this.#on.changed();
    return true;
  }
}

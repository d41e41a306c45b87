// The box in which a message is written, with the files that go with it and its two buttons: send, and stop while an
// answer is live. What is sent meanwhile waits for that answer to end, and the box says so.

import * as drafts from "./drafts.js";
import { Tray } from "./tray.js";

export class Composer {
  #form;
  #box;
  #tray;
  #send;
  #stop;
  #notice;
  #connection;
  #live = false;
  #thread; // whose draft this is; null is a new one, and undefined says that nobody knows yet

  constructor(form, { onSend, onStop }) {
    this.#form = form;
    this.#box = form.querySelector("#message");
    this.#send = form.querySelector("#send");
    this.#stop = form.querySelector("#stop");
    this.#notice = form.querySelector("#composer-notice");
    this.#connection = form.querySelector("#connection");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isEmpty || this.#tray.isBusy) return;
      const said = this.#draft;
      this.write({ text: "", files: [] });
      this.tell(null);
      onSend(said);
    });
    this.#stop.addEventListener("click", () => {
      this.#stop.disabled = true; // until the turn has ended
      onStop();
      this.focus(); // a disabled button would take the focus with it
    });
    this.#tray = new Tray(form, {
      changed: () => this.#changed(),
      removed: () => this.focus(),
      failed: (error) => this.tellError(error),
    });
    this.#box.addEventListener("input", () => this.#changed());
    this.#box.addEventListener("keydown", (event) => {
      // While an input method composes, Enter accepts its suggestion (Safari says so only by 229).
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      form.requestSubmit();
    });
  }

  get #draft() {
    return { text: this.#box.value, files: this.#tray.files };
  }

  get #isEmpty() {
    return !this.#box.value.trim() && !this.#tray.files.length;
  }

  write({ text, files }) {
    this.#box.value = text;
    this.#tray.files = files;
  }

  // Goes on with what was typed for a thread; null is a new one.
  resume(thread) {
    const typed = this.#thread === undefined ? this.#box.value : ""; // before the script was there
    this.#thread = thread;
    const { text, files } = drafts.read(thread);
    this.write({ text: typed || text, files });
  }

  // The new thread has got its name.
  rename(thread) {
    drafts.write(this.#thread, { text: "", files: [] });
    this.#thread = thread;
    this.#changed();
  }

  // What was sent and could not be: it stands before what was typed since.
  giveBack(said) {
    this.#box.value = drafts.joined(said, this.#draft).text;
    this.#tray.put(said.files); // what is being uploaded meanwhile goes on
  }

  focus() {
    this.#box.focus();
  }

  // Whether an answer is on its way: then there is something to stop, and what is sent waits.
  set live(live) {
    const hadFocus = document.activeElement === this.#stop || document.activeElement === this.#send;
    this.#live = live;
    this.#form.toggleAttribute("data-live", live);
    this.#box.placeholder = live ? "Write the next message" : "Write a message";
    this.#stop.hidden = !live;
    this.#stop.disabled = false;
    this.#changed();
    if (hadFocus && (this.#send.hidden || this.#send.disabled)) this.focus();
  }

  // Whether the server cannot be reached.
  set offline(offline) {
    this.#connection.hidden = !offline;
    this.#connection.textContent = offline ? "The connection is lost. Trying to come back…" : "";
  }

  // The stop did not get through: it may be tried again.
  allowStop() {
    this.#stop.disabled = false;
  }

  // A line above the box; null takes it away. `action`: {label} and what to {run}, or where to go ({href}).
  tell(text, action) {
    this.#notice.hidden = !text;
    this.#notice.textContent = text ?? "";
    if (!action) return;
    const control = document.createElement(action.href ? "a" : "button");
    control.className = "button notice-action";
    control.textContent = action.label;
    if (action.href) control.href = action.href;
    else control.type = "button";
    if (action.run) control.addEventListener("click", action.run);
    this.#notice.append(control);
  }

  // The same of what went wrong.
  tellError(error, action) {
    if (error.status !== 401) return this.tell(error.message, action);
    const login = `${document.body.dataset.login}?next=${encodeURIComponent(location.pathname)}`;
    return this.tell(error.message, { label: "Log in", href: login });
  }

  #changed() {
    const isEmpty = this.#isEmpty;
    if (this.#thread !== undefined) drafts.write(this.#thread, this.#draft);
    this.#send.disabled = isEmpty || this.#tray.isBusy;
    this.#send.hidden = this.#live && isEmpty; // beside the stop, which never moves
    this.#send.setAttribute("aria-label", this.#live ? "Send after this answer" : "Send");
    if (CSS.supports("field-sizing", "content")) return; // the style sheet does it
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }
}

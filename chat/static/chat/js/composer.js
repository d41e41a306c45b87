// The box in which a message is written, with its two buttons: send, and stop while an answer is live.

export class Composer {
  #form;
  #box;
  #send;
  #stop;
  #notice;
  #live = false;

  constructor(form, { onSend, onStop }) {
    this.#form = form;
    this.#box = form.querySelector("#message");
    this.#send = form.querySelector("#send");
    this.#stop = form.querySelector("#stop");
    this.#notice = form.querySelector("#composer-notice");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#box.value;
      if (this.#live || !text.trim()) return;
      this.write("");
      this.tell(null);
      onSend(text);
    });
    this.#stop.addEventListener("click", () => {
      this.#stop.disabled = true; // until the turn has ended
      onStop();
      this.focus(); // a disabled button would take the focus with it
    });
    this.#box.addEventListener("input", () => this.#fit());
    this.#box.addEventListener("keydown", (event) => {
      // While an input method composes, Enter accepts its suggestion (Safari says so only by 229).
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.#fit(); // something may have been typed before the script was there
  }

  get text() {
    return this.#box.value;
  }

  write(text) {
    this.#box.value = text;
    this.#fit();
  }

  focus() {
    this.#box.focus();
  }

  // Whether an answer is on its way: then there is something to stop, and nothing is sent.
  set live(live) {
    const hadFocus = document.activeElement === this.#stop || document.activeElement === this.#send;
    this.#live = live;
    this.#send.hidden = live;
    this.#stop.hidden = !live;
    this.#stop.disabled = false;
    if (hadFocus) this.focus();
  }

  // The stop did not get through: it may be tried again.
  allowStop() {
    this.#stop.disabled = false;
  }

  // A line above the box; null takes it away. `action`: {label, run}.
  tell(text, action) {
    this.#notice.hidden = !text;
    this.#notice.textContent = text ?? "";
    if (!action) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button notice-action";
    button.textContent = action.label;
    button.addEventListener("click", action.run);
    this.#notice.append(button);
  }

  #fit() {
    this.#send.disabled = !this.#box.value.trim();
    if (CSS.supports("field-sizing", "content")) return; // the style sheet does it
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }
}

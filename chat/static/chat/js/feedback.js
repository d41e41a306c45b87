// What the person thinks of answers: up, or down with a word why.

import * as api from "./api.js";
import { announce } from "./announce.js";

export class Feedback {
  #log;
  #onFailed;
  #given = new Map(); // message id -> {rating, comment}
  #dialog = document.getElementById("feedback");
  #comment = document.getElementById("feedback-comment");
  #message = null; // whose comment is asked for
  #thread = null;

  constructor(pane, log, onFailed) {
    this.#log = log;
    this.#onFailed = onFailed;
    log.onAdded = (message) => this.#show(message);
    pane.addEventListener("click", (event) => {
      const button = event.target.closest("[data-rating]");
      if (button) this.#rate(log.of(button), button.dataset.rating);
    });
    this.#dialog.addEventListener("close", () => this.#answered(this.#dialog.returnValue));
  }

  // Reads what was said about the answers of a thread; null is a new one.
  async open(thread) {
    this.#thread = thread;
    this.#given.clear();
    if (thread === null) return;
    let given;
    try {
      given = await api.feedback(thread);
    } catch {
      return; // the thread's own requests say what is wrong
    }
    if (thread !== this.#thread) return;
    for (const one of given) this.#note(one.message_id, one);
  }

  #rate(message, rating) {
    const isSame = this.#given.get(message.id)?.rating === rating;
    if (rating === "up") return isSame ? this.#takeBack(message.id) : this.#give(message.id, { rating, comment: "" });
    if (!isSame) this.#give(message.id, { rating, comment: "" });
    this.#message = message.id;
    this.#comment.value = this.#given.get(message.id)?.comment ?? "";
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    return undefined;
  }

  #answered(choice) {
    if (choice === "save") this.#give(this.#message, { rating: "down", comment: this.#comment.value.trim() });
    if (choice === "back") this.#takeBack(this.#message);
  }

  #give(id, opinion) {
    return this.#change(id, opinion, () => api.giveFeedback(id, opinion.rating, opinion.comment), "Thank you.");
  }

  #takeBack(id) {
    return this.#change(id, undefined, () => api.takeFeedbackBack(id), "Taken back.");
  }

  // Shown at once, and as it was where it does not get through.
  async #change(id, opinion, work, said) {
    const before = this.#given.get(id);
    this.#note(id, opinion);
    try {
      await work();
      announce(said);
    } catch (error) {
      if (this.#given.get(id) === opinion) this.#note(id, before);
      this.#onFailed(error);
    }
  }

  #note(id, opinion) {
    if (opinion) this.#given.set(id, opinion);
    else this.#given.delete(id);
    const message = this.#log.find(id);
    if (message) this.#show(message);
  }

  #show(message) {
    message.rating = this.#given.get(message.id)?.rating;
  }
}

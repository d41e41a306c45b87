// The button that brings the messages before those that are shown.

import * as api from "./api.js";

export class Earlier {
  #button = document.getElementById("earlier");
  #log;
  #follower;
  #onFailed;

  constructor(log, follower, onFailed) {
    this.#log = log;
    this.#follower = follower;
    this.#onFailed = onFailed;
    this.#button.addEventListener("click", () => this.#bring());
  }

  // Where they are to be asked for; null: there are none.
  set next(next) {
    this.#button.hidden = !next;
    this.#button.dataset.next = next ?? "";
  }

  async #bring() {
    const asked = this.#button.dataset.next;
    const isStill = () => this.#button.dataset.next === asked; // else another thread is open
    this.#button.disabled = true;
    try {
      const { results, next } = await api.messages(asked);
      if (isStill()) this.#follower.keepPlace(() => this.#show(results, next));
    } catch (error) {
      if (isStill()) this.#onFailed(error);
    }
    this.#button.disabled = false;
  }

  #show(messages, next) {
    this.#log.addStored(messages);
    this.next = next;
  }
}

// The messages of a thread, in the order of their numbers. What has none yet stands at the end.

import { storedMessage } from "./message.js";

export class MessageLog {
  #element;
  #messages = new Map(); // element -> message
  onAdded = () => {}; // called with each message that comes in

  constructor(element) {
    this.#element = element;
  }

  get isEmpty() {
    return this.#messages.size === 0;
  }

  clear() {
    this.#messages.clear();
    this.#element.replaceChildren();
  }

  // The message of this number, or null.
  find(id) {
    const element = this.#element.querySelector(`[data-known][data-message-id="${CSS.escape(id)}"]`);
    return element && this.#messages.get(element);
  }

  // Whether the message of this number stands here, and nothing more is to come for it.
  isWhole(id) {
    const message = this.find(id);
    return message !== null && !message.element.hasAttribute("aria-busy");
  }

  add(message) {
    this.#messages.set(message.element, message);
    let next = null;
    for (const element of [...this.#element.children].reverse()) {
      if (numberOf(element) <= numberOf(message.element)) break;
      next = element;
    }
    this.#element.insertBefore(message.element, next);
    this.onAdded(message);
  }

  remove(message) {
    this.#messages.delete(message.element);
    message.element.remove();
  }

  // The message that an element is, or lies in.
  of(element) {
    return this.#messages.get(element.closest(".message"));
  }

  // Takes in the last page of stored messages: what is not here yet, and what is not whole here. What is here, and would
  // lie among them, was replaced by another version, and goes; `upTo` is the number up to which they tell all. Returns
  // whether there is a gap between them and what was here, which was taken away then.
  merge(stored, upTo = 0) {
    const numbers = new Set(stored.map(({ id }) => id));
    const known = [...this.#messages.keys()].filter((element) => "known" in element.dataset);
    const isGap = known.length > 0 && !known.some((element) => numbers.has(element.dataset.messageId));
    const first = Math.min(...stored.map(({ id }) => Number(id)));
    const last = Math.max(upTo, ...stored.map(({ id }) => Number(id)));
    const isReplaced = (element) =>
      !numbers.has(element.dataset.messageId) &&
      !element.hasAttribute("aria-busy") &&
      numberOf(element) > first &&
      numberOf(element) < last;
    for (const element of known) if (isGap || isReplaced(element)) this.remove(this.#messages.get(element));
    this.addStored(stored);
    return isGap;
  }

  addStored(stored) {
    for (const message of stored) {
      if (this.isWhole(message.id)) continue;
      const partial = this.find(message.id);
      if (partial) this.remove(partial);
      this.add(storedMessage(message));
    }
  }
}

function numberOf(element) {
  return "known" in element.dataset ? Number(element.dataset.messageId) : Infinity;
}

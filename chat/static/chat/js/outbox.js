// Messages that are not in the thread yet: those that wait for another answer to end, and those that did not get
// through. They stand below the log, in the order in which they will run.

import * as api from "./api.js";

const PLACES = { sending: "Sending…", waiting: "Waits for the answer before it" };

export class Outbox {
  #element;
  #entries = new Map(); // the turn's name, which is the message's first id -> {question, turn}
  #on;

  // `on`: {cancelled(turn, name), failed(error)}
  constructor(element, on) {
    this.#element = element;
    this.#on = on;
  }

  get isEmpty() {
    return this.#entries.size === 0;
  }

  // Whether the server holds any of them.
  get isWaiting() {
    return [...this.#entries.values()].some(({ turn }) => turn !== null);
  }

  // What did not get through.
  get unsent() {
    return [...this.#entries.values()].map(({ question }) => question).filter(({ element }) => "unsent" in element.dataset);
  }

  has(name) {
    return this.#entries.has(name);
  }

  turnOf(name) {
    return this.#entries.get(name)?.turn ?? null;
  }

  // A message that is being sent.
  add(name, question) {
    const entry = this.#entries.get(name) ?? { question, turn: null };
    this.#entries.set(name, entry);
    this.#look(entry.question, "waiting");
    entry.question.notice("waiting", PLACES.sending);
    this.#element.append(entry.question.element);
  }

  // The server has it: it is the turn `turn`, and waits.
  wait(name, turn) {
    const entry = this.#entries.get(name);
    if (entry.turn === turn) return;
    entry.turn = turn;
    this.#look(entry.question, "waiting");
    entry.question.notice("waiting", PLACES.waiting, { label: "Cancel", run: () => this.#cancel(turn, name) });
    this.#sort();
  }

  // It did not reach the server; `retry` sends it again under the same name.
  fail(name, question, reason, retry) {
    this.#entries.set(name, { question, turn: null });
    this.#look(question, "unsent");
    const again = (button) => {
      button.disabled = true;
      this.take(name);
      retry();
    };
    question.notice("failed", `Not sent. ${reason}`, { label: "Try again", run: again });
    this.#element.append(question.element);
  }

  // Gives a message away: as one of the thread it stands elsewhere.
  take(name) {
    const entry = this.#entries.get(name);
    if (!entry) return null;
    this.#entries.delete(name);
    this.#look(entry.question, null);
    entry.question.notice(null, null);
    entry.question.element.remove();
    return entry.question;
  }

  clear() {
    for (const name of [...this.#entries.keys()]) this.take(name);
  }

  // Only what waits on the server, in this order, besides what it has not got yet. `make(queued)` makes a message.
  sync(queued, make) {
    const names = new Set(queued.map(({ turn_id: name }) => name));
    for (const [name, { turn }] of [...this.#entries]) if (turn !== null && !names.has(name)) this.take(name);
    for (const waiting of queued) {
      if (!this.has(waiting.turn_id)) this.add(waiting.turn_id, make(waiting));
      this.wait(waiting.turn_id, waiting.turn);
    }
  }

  // Turns run in the order of their numbers; what has none yet comes last.
  #sort() {
    const entries = [...this.#entries.values()].sort((one, other) => (one.turn ?? Infinity) - (other.turn ?? Infinity) || 0);
    entries.forEach(({ question: { element } }, index) => {
      const there = this.#element.children[index];
      if (there !== element) this.#element.insertBefore(element, there); // only where it has to: it may have the focus
    });
  }

  async #cancel(turn, name) {
    try {
      const { status } = await (await api.stop(turn)).json();
      if (status === "stopped") this.#on.cancelled(turn, name); // else it has begun meanwhile, and is stopped
    } catch (error) {
      this.#on.failed(error);
    }
  }

  #look({ element }, look) {
    for (const one of ["waiting", "unsent"]) {
      if (one === look) element.dataset[one] = "";
      else delete element.dataset[one];
    }
  }
}

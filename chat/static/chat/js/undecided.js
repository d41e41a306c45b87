// The turn that waits for a person's decisions: what it asks about, and what becomes of it. It is not live meanwhile:
// nothing is on its way, and there is nothing to stop.

import * as api from "./api.js";
import { LiveTurn } from "./live-turn.js";

export class Undecided {
  #live = null; // the turn as it was when it was live, and will be when it goes on
  #onDecided;

  // `onDecided` is called when a decision was taken, or, with an error, was not.
  constructor(onDecided) {
    this.#onDecided = onDecided;
  }

  get turn() {
    return this.#live?.turn ?? null;
  }

  clear() {
    this.#live = null;
  }

  // Asks for decisions on these calls, as the API tells them. Returns whether the turn waits since now.
  wait(live, calls) {
    const isNew = this.turn !== live.turn;
    this.#live = live;
    live.wait(calls, (call, decision) => this.#decide(call, decision));
    return isNew;
  }

  // What the thread's state says: `asked` is the first of its calls, if any, and `live` the number of its live turn. An
  // answer that waits no longer is taken from the log: what is stored of it takes its place.
  reconcile(asked, live, log) {
    if (!this.#live || [asked?.turn, live].includes(this.turn)) return;
    log.remove(this.#live.answer);
    this.#live = null;
  }

  // The turn that waits, out of the thread's state, whose messages are in the log.
  of({ turn, message_id: id }, messages, log) {
    if (this.#live) return this.#live;
    const { turn_id: name } = messages.find((message) => message.id === id);
    const question = messages.find((message) => message.turn_id === name && message.role === "user");
    return LiveTurn.waiting(turn, name, question && log.find(question.id), log.find(id));
  }

  // It waits no longer, and is live: returns it.
  goOn() {
    const live = this.#live;
    this.#live = null;
    live.goOn();
    return live;
  }

  // A chunk of it, though it does not go on: it is stopped. Returns the turn at its end.
  take(chunk) {
    const live = this.#live;
    live.take(chunk);
    if (!live.ended) return null;
    this.#live = null;
    return live;
  }

  async #decide(call, decision) {
    try {
      await api.decide(this.turn, call.tool_call_id, decision);
    } catch (error) {
      return this.#onDecided(error);
    }
    return this.#onDecided();
  }
}

// The open thread: its messages, the turn that is live in it, those that wait, and what can go wrong with them.

import * as api from "./api.js";
import { announce } from "./announce.js";
import * as drafts from "./drafts.js";
import { Feed } from "./feed.js";
import { LiveTurn } from "./live-turn.js";
import { AssistantMessage, UserMessage, newId } from "./message.js";
import { Outbox } from "./outbox.js";
import { events } from "./sse.js";
import { Undecided } from "./undecided.js";

export class Conversation {
  #pane = document.getElementById("log");
  #log;
  #tell = (error, action) => this.#composer.tellError(error, action);
  #outbox = new Outbox(document.getElementById("outbox"), {
    cancelled: (turn, name) => (this.#forget(turn, name), this.#composer.focus()),
    failed: this.#tell,
  });
  #welcome = document.getElementById("welcome");
  #earlier;
  #revisions;
  #composer;
  #follower;
  #on;
  #thread = null; // the open thread's id; before its first answer, the one this client made up
  #leaving = new AbortController(); // aborted when another thread is opened
  #isKnown = false; // the server has the thread
  #feed = null; // none in a thread that is new, or cannot be read
  #live = null; // the turn that streams, or that was sent and will
  #undecided = new Undecided((error) => this.#decided(error));
  #over = new Set(); // turns that have ended: older news of them is no news
  #accepted = new Set(); // names of turns that the server has
  #sending = Promise.resolve(); // one after the other, so that they run in the order in which they were written
  #stopWanted = false;

  // `on`: {started(threadId), ended(), missing()}
  constructor({ log, composer, follower, revisions, earlier }, on) {
    this.#log = log;
    this.#composer = composer;
    this.#follower = follower;
    this.#revisions = revisions;
    this.#earlier = earlier;
    this.#on = on;
    addEventListener("pagehide", () => this.#keepUnsent());
  }

  get thread() {
    return this.#thread;
  }

  // Messages were changed: the page shows what there is.
  changed() {
    return this.#redraw(Infinity);
  }

  // Shows a thread and goes on with its live answer, if there is one; null is a new thread.
  open(threadId) {
    // Leaving is no stop: the answer goes on, and coming back finds it.
    this.#leaving.abort();
    this.#leaving = new AbortController();
    this.#setLive(null);
    this.#keepUnsent();
    for (const each of [this.#outbox, this.#log, this.#undecided, this.#over, this.#accepted]) each.clear();
    this.#earlier.next = null;
    this.#thread = threadId;
    this.#isKnown = threadId !== null;
    this.#feed = null;
    this.#welcome.hidden = threadId !== null;
    this.#composer.offline = false;
    this.#composer.resume(threadId);
    if (threadId === null) return this.#follower.rest();
    this.#pane.setAttribute("aria-busy", "true");
    return this.#join();
  }

  async send({ text, files = [] }) {
    this.#welcome.hidden = true;
    this.#thread ??= newId();
    const question = new UserMessage(newId(), [...(text.trim() ? [{ type: "text", text }] : []), ...files]);
    await this.#submit(question.id, question);
  }

  async stop() {
    this.#stopWanted = true;
    if (this.#live.turn === null) return; // asked for again when it begins
    try {
      await api.stop(this.#live.turn);
    } catch (error) {
      this.#stopWanted = false;
      this.#composer.allowStop();
      this.#tell(error);
    }
  }

  async #submit(name, question) {
    const { signal } = this.#leaving;
    if (this.#live) this.#await(name, question);
    else this.#setLive(LiveTurn.asked(question, newId()), "Answering.");
    this.#follower.follow();
    const [thread, draft] = [this.#thread, this.#draft];
    let response;
    try {
      const onBusy = this.#undecided.turn ? "stop" : "enqueue"; // who says something else has decided, too
      const sent = this.#sending.then(() => api.send(thread, name, question.parts, onBusy));
      this.#sending = sent.catch(() => {});
      response = await sent;
    } catch (error) {
      if (signal.aborted) this.#returned(draft, question, error);
      else if (error.isPassing) this.#failed(name, question, error);
      else this.#refused(name, question, error);
      return;
    }
    this.#accepted.add(name);
    if (!this.#isKnown && this.#live?.name === name && !signal.aborted) return this.#followFirst(response, signal);
    // From here on the thread's own news tell what becomes of it: nobody needs this stream, and to leave is no stop.
    response.body.cancel();
    if (signal.aborted && draft === null) this.#on.ended(); // a thread that the list has not yet
    if (signal.aborted || !this.#isKnown) return;
    if (!this.#feed) this.open(this.#thread); // it could not be read, and now it can
    else if (this.#feed.overSocket) this.#feed.sent();
    else await this.#redraw();
  }

  // A new thread's first answer. Who sends it learns from its stream what the thread is called, and reads on until the
  // thread's own news take over, so that its first word waits for nothing.
  async #followFirst(response, signal) {
    for await (const { id, data } of events(response.body)) {
      if (signal.aborted || this.#feed?.connected || !id) break;
      const chunk = JSON.parse(data);
      if (!this.#feed) {
        this.#thread = chunk.messageMetadata.thread_id;
        this.#live.turn = Number(id.split("-")[0]);
        this.#named();
        this.#join(this.#live.turn);
        if (this.#stopWanted) this.stop();
      }
      if (this.#feed.position.isNew(id)) this.#take(id, chunk);
    }
    if (signal.aborted) this.#on.ended();
    else if (!this.#feed) this.#join();
  }

  // Where the composer keeps what is typed here.
  get #draft() {
    return this.#isKnown ? this.#thread : null;
  }

  #keepUnsent() {
    this.#outbox.unsent.forEach((question) => drafts.add(this.#draft, question));
  }

  // What was sent in a thread that was left since did not get through.
  #returned(draft, question, error) {
    if (draft !== this.#draft) return drafts.add(draft, question);
    this.#composer.giveBack(question);
    return this.#tell(error);
  }

  // The server did not get it, as far as we know.
  #failed(name, question, error) {
    const waits = this.#outbox.has(name) && this.#outbox.turnOf(name) === null;
    if (!waits && (this.#live?.name !== name || this.#live.turn !== null)) return; // it did, and the news came first
    this.#withdraw(name);
    this.#outbox.fail(name, question, error.message, () => this.#submit(name, question));
  }

  // Nothing was written, and sending the same again would not help: the text goes back to where it came from.
  #refused(name, question, error) {
    this.#withdraw(name);
    this.#composer.giveBack(question);
    if (this.#log.isEmpty && this.#outbox.isEmpty) this.#welcome.hidden = false;
    this.#tell(error);
  }

  #withdraw(name) {
    this.#outbox.take(name);
    if (this.#live?.name !== name) return;
    this.#log.remove(this.#live.question);
    this.#log.remove(this.#live.answer);
    this.#setLive(null);
  }

  // It comes after the live turn, or will when that begins.
  #await(name, question) {
    this.#outbox.add(name, question);
    announce("Your message waits for the answer before it.");
  }

  // Another's message was first: what was shown as the live turn waits.
  #demote() {
    const { name, question } = this.#live;
    this.#withdraw(name);
    this.#await(name, question);
  }

  #forget(turn, name) {
    this.#over.add(turn);
    if (this.#outbox.take(name)) announce("The waiting message was cancelled.");
  }

  // Reads what happens in the thread, for as long as it is open. `begun`: the turn that is shown from its first chunk.
  async #join(begun) {
    const { signal } = this.#leaving;
    const feed = (this.#feed = new Feed(this.#thread, signal, begun));
    feed.expecting = this.#live !== null;
    try {
      for await (const { state, turn, cursor, chunk, restored, offline } of feed.events()) {
        if (signal.aborted) return;
        if (chunk) this.#take(cursor, chunk);
        else if (restored) await this.changed();
        else if (turn) await this.#told(turn);
        else if (state) this.#draw(state);
        else this.#composer.offline = offline;
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#pane.removeAttribute("aria-busy");
      this.#feed = null;
      this.#composer.offline = false;
      const isGone = error.status === 404;
      this.#live?.answer.lost(`Not shown any further. ${isGone ? error.message : "The answer goes on without you."}`);
      this.#setLive(null);
      this.#outbox.sync([]); // what waits there waits for nobody here
      if (isGone) this.#on.missing();
      else this.#tell(error, { label: "Try again", run: () => this.open(this.#thread) });
    }
  }

  #take(cursor, chunk) {
    const turn = Number(cursor.split("-")[0]);
    if (this.#live?.turn === turn) this.#live.take(chunk);
    const ended = this.#undecided.turn === turn ? this.#undecided.take(chunk) : this.#live?.ended && this.#live;
    if (ended) this.#ended(ended);
  }

  // A turn waits for decisions on these calls.
  #wait(live, calls) {
    if (this.#undecided.wait(live, calls)) announce("The answer waits for your decision.");
    if (this.#live === live) this.#setLive(null);
  }

  // How a turn stands now. Old news may come again, and in any order.
  async #told(told) {
    const { turn, turn_id: name, status, assistant_message_id: answer } = told;
    const isWaited = this.#undecided.turn === turn;
    if (this.#over.has(turn) || (!isWaited && answer !== null && this.#log.isWhole(answer))) return;
    if (status === "queued") {
      if (this.#live?.turn === turn) return;
      if (this.#live?.name === name) this.#demote();
      if (this.#outbox.has(name)) this.#outbox.wait(name, turn);
      else await this.#redraw(); // another tab's: the state has its text
    } else if (status === "streaming") {
      // What revises takes the place of messages that are shown.
      const isSeen = told.trigger === "submit" || this.#live?.turn === turn || isWaited;
      if (!isSeen || !this.#begin(told)) await this.#redraw();
    } else if (status === "awaiting_approval" && (isWaited || this.#live?.turn === turn)) {
      this.#wait(isWaited ? this.#undecided.of(told) : this.#live, told.approvals);
    } else if (answer === null) {
      this.#forget(turn, name);
    } else {
      await this.#redraw(told.trigger === "submit" ? 0 : Infinity);
    }
    this.#expect();
  }

  // Shows a turn as the live one. Returns false where that needs more than is known here.
  #begin(told) {
    const { turn, turn_id: name, user_message_id: question, assistant_message_id: answer } = told;
    if (this.#live?.turn === turn) return true;
    if (this.#undecided.turn === turn) {
      this.#setLive(this.#undecided.goOn(), "Answering.");
      return true;
    }
    if (this.#live?.name === name) {
      this.#live.begun(told);
      if (this.#stopWanted) this.stop();
      return true;
    }
    if (this.#live?.turn) return false; // its end was missed
    const asked = this.#log.find(question) ?? this.#outbox.take(name);
    if (!asked && told.trigger === "submit") return false; // another answer is to a question of before
    if (this.#live) this.#demote();
    const live = new LiveTurn(name, asked, new AssistantMessage(answer));
    live.begun(told);
    this.#feed.readAgain(turn);
    this.#setLive(live, "Answering.");
    return true;
  }

  async #redraw(upTo) {
    const [accepted, { signal }] = [[...this.#accepted], this.#leaving];
    try {
      const state = await this.#feed.state();
      if (!signal.aborted) this.#draw(state, accepted, upTo);
    } catch (error) {
      if (!signal.aborted) this.#feed?.refresh(); // it tries until it gets through, or knows why not
    }
  }

  // Makes the page show what the state says, whatever it shows. `accepted`: what the server had when it was asked.
  #draw({ thread, messages, earlier, cursor, turn: told, approvals, queued }, accepted = [], upTo = 0) {
    const first = this.#pane.hasAttribute("aria-busy");
    this.#pane.removeAttribute("aria-busy");
    if (thread.id !== this.#thread) {
      this.#thread = thread.id;
      this.#named();
    }
    const [asked] = approvals;
    if (asked && this.#live?.turn === asked.turn) {
      this.#log.remove(this.#live.answer); // some of it may have been missed: what is stored takes its place
      this.#setLive(null);
    }
    this.#undecided.reconcile(asked, told?.turn, this.#log);
    const live = told && !this.#over.has(told.turn) ? told : null;
    // An answer that came late may be older than the live turn.
    const isReached = this.#live?.turn && this.#live.turn <= Number(cursor.split("-")[0]);
    const past = isReached && this.#live.turn !== live?.turn ? this.#live : null;
    if (past) this.#setLive(null);
    // What this page has sent and shows by its own name gets the server's, or makes way for what is stored of it.
    const waiting = new Set(queued.map(({ turn_id: name }) => name));
    if (this.#live && waiting.has(this.#live.name)) this.#demote();
    for (const { turn_id: name, role } of messages) if (role === "user" && name !== live?.turn_id) this.#withdraw(name);
    for (const name of accepted) if (!waiting.has(name) && name !== live?.turn_id) this.#withdraw(name);
    if (live && (this.#live?.name === live.turn_id || this.#outbox.has(live.turn_id))) this.#begin(live);
    // What calls a turn live that has ended here since tells nothing of its answer, which is shown: it replaces nothing.
    const last = told && !live ? 0 : Math.max(upTo, live?.assistant_message_id ?? 0);
    if (this.#log.merge(messages, last) || first) this.#earlier.next = earlier;
    if (asked) this.#wait(this.#undecided.of(asked, messages, this.#log), approvals);
    if (live) this.#begin(live);
    if (past) this.#ended(past);
    const known = queued.filter(({ turn }) => !this.#over.has(turn) && turn !== this.#live?.turn);
    this.#outbox.sync(known, ({ turn_id: name, message }) => new UserMessage(name, message.parts));
    if (first) this.#follower.follow();
    this.#expect();
  }

  #ended(live) {
    this.#over.add(live.turn);
    if (!live.ended && live.answer.element.isConnected) live.finish(); // its answer is not among those that are shown
    if (live === this.#live) this.#setLive(null);
    announce(`Answer ${live.status}.`);
    this.#revisions.ended(live);
    this.#on.ended();
  }

  // A decision was taken, or not: somebody else has decided, say.
  #decided(error) {
    this.#composer.focus(); // the button is gone
    if (error) this.#tell(error);
    if (error || !this.#feed?.overSocket) this.#feed?.refresh();
  }

  #named() {
    this.#isKnown = true;
    this.#composer.rename(this.#thread);
    this.#on.started(this.#thread);
  }

  #setLive(live, announcement) {
    this.#live = live;
    this.#stopWanted = false;
    this.#composer.live = live !== null;
    this.#pane.toggleAttribute("data-live", live !== null);
    for (const message of live ? [live.question, live.answer] : []) {
      if (message && !message.element.isConnected) this.#log.add(message);
    }
    if (announcement) announce(announcement);
    this.#expect();
  }

  #expect() {
    if (this.#feed) this.#feed.expecting = this.#live !== null || this.#outbox.isWaiting;
  }
}

// The open thread: its messages, the turn that is live in it, and what can go wrong with both.

import * as api from "./api.js";
import { AssistantMessage, UserMessage, newId } from "./message.js";
import { chunks } from "./stream.js";

export class Conversation {
  #log = document.getElementById("log");
  #welcome = document.getElementById("welcome");
  #earlier = document.getElementById("earlier");
  #announcer = document.getElementById("announcer");
  #composer;
  #follower;
  #on;
  #thread = null; // the open thread's id; before its first answer, the one this client made up
  #loading = new AbortController(); // aborted when another thread is opened
  #started = false; // the server has begun the live turn, so that it can be stopped
  #stopWanted = false;

  // `on`: {started(threadId), ended(), missing()}
  constructor(composer, follower, on) {
    this.#composer = composer;
    this.#follower = follower;
    this.#on = on;
    this.#earlier.addEventListener("click", () => this.#showEarlier());
  }

  // Shows a thread and goes on with its live answer, if there is one; null is a new thread.
  async open(threadId) {
    // Leaving is no stop: the answer goes on, and coming back finds it.
    this.#loading.abort();
    this.#loading = new AbortController();
    const { signal } = this.#loading;
    const unsent = threadId === this.#thread ? this.#log.querySelectorAll("[data-unsent]") : [];
    this.#thread = threadId;
    this.#log.replaceChildren(...unsent);
    this.#setEarlier(null);
    this.#setLive(false);
    this.#welcome.hidden = threadId !== null;
    if (threadId === null) return this.#follower.rest();
    this.#log.setAttribute("aria-busy", "true");
    try {
      const page = await api.messages(threadId, null, signal);
      this.#show(page);
      this.#log.removeAttribute("aria-busy");
      const last = page.results.at(-1);
      if ((await this.#goOn(signal)) || last?.role !== "user") return;
      // Perhaps the answer ended between the two requests: then it is a stored message by now.
      const again = await api.messages(threadId, null, signal);
      if (again.results.at(-1)?.id === last.id) return;
      this.#log.replaceChildren(...unsent);
      this.#show(again);
    } catch (error) {
      this.#log.removeAttribute("aria-busy");
      if (signal.aborted) return;
      if (error.status === 404) this.#on.missing();
      else this.#tell(error, { label: "Try again", run: () => this.#reopen() });
    }
  }

  async send(text) {
    this.#welcome.hidden = true;
    this.#thread ??= newId();
    await this.#submit(new UserMessage(newId(), [{ type: "text", text }]));
  }

  async stop() {
    this.#stopWanted = true;
    if (!this.#started) return; // asked for again with the first chunk
    try {
      await api.stop(this.#thread);
    } catch (error) {
      this.#stopWanted = false;
      this.#composer.allowStop();
      this.#tell(error);
    }
  }

  async #submit(question) {
    const { signal } = this.#loading;
    const answer = new AssistantMessage(newId());
    this.#log.append(question.element, answer.element);
    this.#follower.follow();
    this.#setLive(true);
    let response;
    try {
      response = await api.send(this.#thread, question.id, question.text, signal);
    } catch (error) {
      if (signal.aborted) return;
      answer.element.remove();
      this.#setLive(false);
      if (error.isPassing) question.unsent(error.message, () => this.#submit(question));
      else await this.#refused(error, question);
      return;
    }
    await this.#follow(response, answer, signal, question);
  }

  // Nothing was written, and sending the same again would not help: the text goes back to where it came from.
  async #refused(error, question) {
    question.element.remove();
    if (!this.#composer.text) this.#composer.write(question.text);
    if (!this.#log.hasChildNodes()) this.#welcome.hidden = false;
    this.#tell(error);
    if (error.code === "thread_busy") await this.#reopen(); // another tab asked first: show that answer
  }

  // Attaches to the live turn from its start. Gives false where none is live.
  async #goOn(signal) {
    const response = await api.resume(this.#thread, null, signal);
    if (!response) return false;
    const answer = new AssistantMessage(newId());
    this.#log.append(answer.element);
    this.#setLive(true);
    await this.#follow(response, answer, signal);
    return true;
  }

  async #follow(response, answer, signal, question) {
    const resume = (cursor) => api.resume(this.#thread, cursor, signal);
    const stream = chunks(response, resume, signal);
    this.#announce("Answering.");
    try {
      let next;
      while (!(next = await stream.next()).done) this.#take(next.value, answer, question);
      if (signal.aborted) return;
      if (next.value) this.#ended(answer);
      else await this.#reopen(); // it ended while we were away
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404 || error.status === 410) {
        await this.#reopen(); // its stream is no longer kept; the message is
      } else {
        this.#setLive(false);
        answer.lost(error.message, () => this.#reopen());
      }
    }
  }

  #ended(answer) {
    answer.finish();
    this.#setLive(false);
    this.#announce(`Answer ${answer.answer.metadata.status}.`);
    this.#on.ended();
  }

  #take(chunk, answer, question) {
    this.#started = true;
    if (chunk.type === "start") {
      if (chunk.messageId) this.#name(answer, chunk.messageId);
      const threadId = chunk.messageMetadata?.thread_id;
      if (threadId && threadId !== this.#thread) this.#thread = threadId;
      if (question) this.#on.started(this.#thread);
    } else if (chunk.type === "data-user-message-id") {
      question?.rename(String(chunk.data.message_id));
    } else if (chunk.type === "data-assistant-message-id") {
      this.#name(answer, String(chunk.data.message_id));
    }
    answer.take(chunk);
    if (this.#stopWanted) {
      this.#stopWanted = false;
      this.stop();
    }
  }

  // Gives the answer the server's id; a stored version of it that is already shown makes way.
  #name(answer, id) {
    const shown = this.#log.querySelector(`[data-message-id="${CSS.escape(id)}"]`);
    if (shown !== answer.element) shown?.remove();
    answer.rename(id);
  }

  #show(page) {
    this.#log.prepend(...page.results.map(stored));
    this.#setEarlier(page.next);
    this.#follower.follow();
  }

  async #showEarlier() {
    const { signal } = this.#loading;
    this.#earlier.disabled = true;
    try {
      const page = await api.messages(this.#thread, this.#earlier.dataset.next, signal);
      this.#follower.keepPlace(() => {
        this.#log.prepend(...page.results.map(stored));
        this.#setEarlier(page.next);
      });
    } catch (error) {
      if (!signal.aborted) this.#tell(error);
    }
    this.#earlier.disabled = false;
  }

  #reopen() {
    return this.open(this.#thread);
  }

  #setEarlier(next) {
    this.#earlier.hidden = !next;
    this.#earlier.dataset.next = next ?? "";
  }

  #setLive(live) {
    this.#started = false;
    this.#stopWanted = false;
    this.#composer.live = live;
  }

  #tell(error, action) {
    if (error.status !== 401) return this.#composer.tell(error.message, action);
    const login = `${document.body.dataset.login}?next=${encodeURIComponent(location.pathname)}`;
    return this.#composer.tell(error.message, { label: "Log in", run: () => location.assign(login) });
  }

  #announce(text) {
    this.#announcer.textContent = text;
  }
}

function stored(message) {
  if (message.role === "assistant") return new AssistantMessage(message.id, message).element;
  return new UserMessage(message.id, message.parts).element;
}

// The turn that a page shows as live: its question, and the answer as it grows.

import { AssistantMessage } from "./message.js";

const ENDS = new Set(["finish", "abort", "error"]);
const WAITING = "awaiting_approval";

export class LiveTurn {
  turn = null; // the server's number for it, once it is known that it has begun
  name; // the client's: the message's first id
  question;
  answer;
  ended = false;

  constructor(name, question, answer) {
    this.name = name;
    this.question = question;
    this.answer = answer;
  }

  // An answer to a question that this page has just sent.
  static asked(question, answerId) {
    return new LiveTurn(question.id, question, new AssistantMessage(answerId));
  }

  // An answer of the history that waits for decisions.
  static waiting(turn, name, question, answer) {
    const live = new LiveTurn(name, question, answer);
    live.turn = turn;
    return live;
  }

  // The server has begun it: `told` as the API tells turns.
  begun(told) {
    this.turn = told.turn;
    if (told.user_message_id !== null) this.question.know(String(told.user_message_id));
    if (told.assistant_message_id !== null) this.answer.know(String(told.assistant_message_id));
  }

  take(chunk) {
    if (chunk.type === "data-user-message-id") this.question?.know(String(chunk.data.message_id));
    else if (chunk.type === "data-assistant-message-id") this.answer.know(String(chunk.data.message_id));
    this.answer.take(chunk);
    if (ENDS.has(chunk.type) && this.status !== WAITING) this.finish();
  }

  // It waits for decisions: `calls` as the API tells them, `decide(call, decision)` says what was decided.
  wait(calls, decide) {
    this.answer.rest();
    this.answer.ask(calls, decide);
  }

  goOn() {
    this.answer.ask([]);
    this.answer.element.setAttribute("aria-busy", "true");
  }

  finish() {
    this.ended = true;
    this.answer.finish();
  }

  get status() {
    return this.answer.answer.metadata.status ?? "ended";
  }
}

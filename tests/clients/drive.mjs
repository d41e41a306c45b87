// A browser without a screen: pages that each hold one chat of an unmodified AI SDK, of the version they ask for.
//
//   node drive.mjs ORIGIN COOKIE
//
// reads one step a line, {page, do, ...}, and answers each with one line: how the page is then, or {problem}.
//   open   {version, id, messages?, sendAutomaticallyWhen?}   a page of its own; the name of a function of the SDK
//   call   {method, args?}        call the chat; the answer does not wait for it, what it throws is among `thrown`
//   until  {text?, settled?}      wait for words in the last message; until every call has come back, and the chat rests
//   cut    {}                     the network goes, in the middle of whatever is on its way
//   set    {messages}             the application replaces the messages
//   state  {}
//
// The transport is the SDK's default one without any options. All that is added is what a browser adds: the page's
// origin in front of a path, its cookies, and a network that can break.
import { AsyncLocalStorage } from "node:async_hooks";
import { createInterface } from "node:readline";

const [origin, cookie] = process.argv.slice(2);
const PATIENCE = 20_000;
const pages = new Map();
const acting = new AsyncLocalStorage();
const network = globalThis.fetch;

globalThis.fetch = async (path, options = {}) => {
  const page = acting.getStore();
  const request = { method: options.method ?? "GET", path: String(path), body: options.body, status: 0 };
  page.requests.push(request);
  const broken = new AbortController();
  page.connections.add(broken);
  const signal = options.signal ? AbortSignal.any([options.signal, broken.signal]) : broken.signal;
  const response = await network(new URL(path, origin), {
    ...options,
    signal,
    headers: { ...Object.fromEntries(new Headers(options.headers)), origin, cookie },
  });
  request.status = response.status;
  return response;
};

class Page {
  constructor() {
    this.requests = [];
    this.connections = new Set();
    this.thrown = [];
    this.calls = 0;
  }

  async open({ version, id, messages = [], sendAutomaticallyWhen }) {
    const ai = await import(version);
    const page = this;
    // What the SDK's own React and Vue bindings keep in their stores.
    const state = {
      status: "ready",
      error: undefined,
      messages,
      pushMessage(message) {
        this.messages = [...this.messages, message];
      },
      popMessage() {
        this.messages = this.messages.slice(0, -1);
      },
      replaceMessage(index, message) {
        this.messages = this.messages.map((one, place) => (place === index ? structuredClone(message) : one));
      },
      snapshot: (value) => structuredClone(value),
    };
    const watched = new Proxy(state, {
      set(target, key, value) {
        target[key] = value;
        page.changed();
        return true;
      },
    });
    class Chat extends ai.AbstractChat {}
    this.chat = new Chat({
      id,
      state: watched,
      sendAutomaticallyWhen: sendAutomaticallyWhen && ai[sendAutomaticallyWhen],
    });
  }

  call({ method, args = [] }) {
    acting.run(this, async () => {
      this.calls += 1;
      try {
        await this.chat[method](...args);
      } catch (error) {
        this.thrown.push(String(error?.message ?? error));
      }
      this.calls -= 1;
      this.changed();
    });
  }

  async until(wanted) {
    const late = setTimeout(() => this.giveUp?.(), PATIENCE);
    try {
      while (!this.is(wanted)) {
        await new Promise((resolve, reject) => {
          this.changed = resolve;
          this.giveUp = () => reject(new Error(`waited too long for ${JSON.stringify(wanted)}`));
        });
      }
    } finally {
      clearTimeout(late);
      this.changed = () => {};
    }
    await new Promise(setImmediate); // whatever the SDK has put off behind this
  }

  is({ text, settled }) {
    // What the SDK sends by itself it does not always wait for.
    const rests = !this.calls && ["ready", "error"].includes(this.chat.status);
    return (!text || JSON.stringify(this.chat.messages.at(-1) ?? null).includes(text)) && (!settled || rests);
  }

  changed() {}

  cut() {
    for (const connection of this.connections) connection.abort(new TypeError("network error"));
    this.connections.clear();
  }

  set({ messages }) {
    this.chat.messages = messages;
  }

  state() {}

  told() {
    const { status, error, messages } = this.chat;
    const requests = this.requests.map(({ method, path, status }) => ({ method, path, status }));
    return { status, error: error ? String(error.message ?? error) : null, messages, requests, thrown: this.thrown };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const step = JSON.parse(line);
  let answer;
  try {
    if (step.do === "open") pages.set(step.page, new Page());
    const page = pages.get(step.page);
    await page[step.do](step);
    answer = page.told();
  } catch (error) {
    answer = { problem: String(error?.stack ?? error), ...pages.get(step.page)?.told() };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
process.exit(0);

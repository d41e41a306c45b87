// What happens in a thread, as it happens, over as many connections as it takes.
//
// Everything comes over the thread's WebSocket, the turns of this page as well as those of another tab: with one way
// in, there is one order of things and one cursor to come back to, and a send is only a command whose answer need not
// be read. A server that restarts, a line that is cut or a sleeping laptop end the socket, and the next one begins
// behind the last chunk that was read (`?after=`): the server tells the rest of that turn and whatever came behind it.
// A chunk that comes twice is dropped by its cursor, so nothing is lost and nothing is doubled.
//
// Where no socket opens though the server answers (proxies that do not let one through), the same is pieced together
// over plain HTTP: the state of the thread, the live turn's event stream from the same cursor, and the state again.
// There a turn of another tab shows within seconds, not at once; its text streams as ever.

import * as api from "./api.js";
import { Position } from "./position.js";
import { Socket } from "./socket.js";
import { events } from "./sse.js";

const PAUSES = [200, 1000, 2000, 4000, 8000, 15000]; // milliseconds before each try to come back
const LOOK = 4000; // milliseconds between two looks at the state, where there is no socket
const SOCKET_AGAIN = 60000; // milliseconds until a socket is tried again where none opened
const FIRST_NEWS = 3000; // milliseconds in which a send must show, else the socket is taken for dead
const OLD = 45000; // milliseconds of silence after which a page that comes to the front again joins anew

export class Feed {
  position = new Position();
  connected = false; // whether what happens is being read at this moment
  #thread;
  #signal;
  #socket = null;
  #expecting = false;
  #failures = 0;
  #offline = false;
  #stale = true; // the page does not show what is up to our position
  #misses = 0; // how often no socket opened though the server answered
  #missed = 0; // when that was last
  #socketsWork = false;
  #wake = () => {};

  // `begun`: the turn that the page shows from its first chunk on; without it, the thread's state is read first.
  constructor(threadId, signal, begun) {
    this.#thread = threadId;
    this.#signal = signal;
    if (begun) {
      this.position.begun(begun);
      this.#stale = false;
    }
    const back = () => document.visibilityState === "visible" && this.#comeBack();
    addEventListener("online", back, { signal });
    document.addEventListener("visibilitychange", back, { signal });
  }

  // Yields {state}, {turn}, {cursor, chunk}, {restored} and {offline}, for ever. Throws ApiError where the thread cannot be read.
  async *events() {
    for (;;) {
      try {
        if (this.#stale) yield { state: await this.state() };
        const mayOpen = this.#socketMayOpen;
        if (mayOpen && (yield* this.#overSocket())) this.#misses = 0;
        else yield* this.#overHttp(mayOpen);
      } catch (error) {
        if (this.#signal.aborted || !error.isPassing) throw error;
        if (this.#failures > 0) yield* this.#tellOffline(true);
      }
      await this.#pause(PAUSES[Math.min(this.#failures++, PAUSES.length - 1)] * (0.5 + Math.random()));
    }
  }

  // Reads how the thread stands.
  async state() {
    const state = await api.state(this.#thread, this.#signal);
    this.position.reach(state.cursor);
    this.#stale = false;
    if (state.turn && !this.#socket) this.#wake();
    return state;
  }

  // What the page shows is not what there is: the state is read again, and the thread joined anew.
  refresh() {
    this.#stale = true;
    this.#socket?.close();
    this.#wake();
  }

  // The page begins to show a turn: what was read of it before is read again.
  readAgain(turn) {
    if (this.position.forget(turn)) this.#socket?.close();
  }

  // Something was sent, and news of it must come.
  sent() {
    this.#wake();
    const socket = this.#socket;
    if (socket) setTimeout(() => socket.closeIfSilent(FIRST_NEWS), FIRST_NEWS);
  }

  get overSocket() {
    return this.#socket !== null;
  }

  // Whether a turn is live, so that a silence means something.
  set expecting(expecting) {
    this.#expecting = expecting;
    if (this.#socket) this.#socket.expecting = expecting;
  }

  get #socketMayOpen() {
    const patience = this.#socketsWork ? 3 : 1; // one that opened before will most likely open again
    return this.#misses < patience || performance.now() - this.#missed > SOCKET_AGAIN;
  }

  // Returns whether it opened.
  async *#overSocket() {
    const socket = new Socket(api.socketUrl(this.#thread, this.position.cursor), this.#signal);
    socket.expecting = this.#expecting;
    this.#socket = socket;
    try {
      if (!(await socket.opened)) return false;
      this.connected = this.#socketsWork = true;
      yield* this.#tellOffline(false);
      for await (const { cursor, chunk, turn, restored } of socket.frames()) {
        if (chunk) {
          if (cursor && this.position.isNew(cursor)) yield { cursor, chunk };
        } else if (turn) {
          if (turn.assistant_message_id !== null) this.position.begun(turn.turn);
          yield { turn };
        } else if (restored) {
          yield { restored };
        } else {
          continue; // an error: the code of the end says the same
        }
        this.#failures = 0;
      }
    } finally {
      this.connected = false;
      this.#socket = null;
    }
    // Refused (4400 and an HTTP status): the state says in HTTP's own words what is wrong, or where to go on.
    if (socket.code >= 4400 && socket.code < 4500 && socket.code !== 4408) {
      this.position = new Position();
      this.#stale = true;
    }
    return true;
  }

  // `isMissed`: a socket was tried, and did not open.
  async *#overHttp(isMissed) {
    const state = await this.state();
    if (isMissed) {
      this.#misses += 1;
      this.#missed = performance.now();
    }
    yield* this.#tellOffline(false);
    this.#failures = 0;
    yield { state };
    if (!state.turn) return this.#pause(LOOK);
    try {
      const { body } = await api.follow(state.turn.turn, this.position.cursor, this.#signal);
      this.connected = true;
      for await (const { id, data } of events(body)) {
        if (id && this.position.isNew(id)) yield { cursor: id, chunk: JSON.parse(data) };
      }
    } catch (error) {
      if (error.status !== 404 && error.status !== 410) throw error; // else it ended, and the state tells it
    } finally {
      this.connected = false;
    }
    return undefined;
  }

  #comeBack() {
    this.#failures = 0;
    this.#wake();
    this.#socket?.closeIfSilent(OLD);
  }

  *#tellOffline(offline) {
    if (offline !== this.#offline) yield { offline };
    this.#offline = offline;
  }

  async #pause(milliseconds) {
    this.#signal.throwIfAborted();
    await new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.#signal.addEventListener("abort", done);
      this.#wake = done;
    });
    this.#signal.throwIfAborted();
  }
}

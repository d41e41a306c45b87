// Where a reader of a thread is: how far it has read each turn, and the cursor from which it goes on.

export class Position {
  #turn = 0; // the highest number of a turn that began; what it has overtaken, the server tells behind it
  #seqs = new Map(); // turn -> the last chunk that was read

  // The cursor behind which nothing is known yet. `0-0` is before the first turn.
  get cursor() {
    return `${this.#turn}-${this.#seqs.get(this.#turn) ?? 0}`;
  }

  // Whether the chunk at this cursor is new; from then on it is not.
  isNew(cursor) {
    const [turn, seq] = numbers(cursor);
    if (seq <= (this.#seqs.get(turn) ?? 0)) return false;
    this.#seqs.set(turn, seq);
    return true;
  }

  // A turn has begun.
  begun(turn) {
    this.#turn = Math.max(this.#turn, turn);
  }

  // What is known up to this cursor, was learnt otherwise.
  reach(cursor) {
    const [turn, seq] = numbers(cursor);
    if (turn < this.#turn) return;
    this.#turn = turn;
    this.#seqs.set(turn, Math.max(seq, this.#seqs.get(turn) ?? 0));
  }

  // The turn is to be read once more, from its start. Returns whether any of it was read.
  forget(turn) {
    const seq = this.#seqs.get(turn) ?? 0;
    this.#seqs.delete(turn);
    return seq > 0;
  }
}

const numbers = (cursor) => cursor.split("-").map(Number);

// Chunks of a turn -> the parts of its answer: the AI SDK's reducer, as far as this page shows parts.
// The server's fold (chat/protocol) is the one that counts: what it stored is what a reload shows.

export class Answer {
  parts = [];
  metadata = {};
  usage = null;
  #open = new Map(); // open text and reasoning blocks by id
  #calls = new Map(); // tool parts by call id

  // Takes the next chunk. Returns the part that it made or changed, if any.
  apply(chunk) {
    if (chunk.messageMetadata) Object.assign(this.metadata, chunk.messageMetadata);
    const [kind, step] = split(chunk.type);
    if (kind === "text" || kind === "reasoning") return this.#block(kind, step, chunk);
    if (kind === "tool") return this.#tool(step, chunk);
    switch (chunk.type) {
      case "file":
      case "source-url":
      case "source-document":
        return this.#add({ ...chunk });
      case "data-token-usage":
        this.usage = chunk.data;
        return undefined;
      case "abort":
        this.metadata.status ??= "stopped";
        return undefined;
      case "error":
        Object.assign(this.metadata, { status: "failed", error_text: chunk.errorText });
        return undefined;
      case "finish":
        this.metadata.status ??= "completed"; // the server says it itself, and when the answer only waits
    }
    return undefined;
  }

  #add(part) {
    this.parts.push(part);
    return part;
  }

  #block(kind, step, chunk) {
    if (step === "start") {
      const part = this.#add({ type: kind, text: "", state: "streaming" });
      this.#open.set(chunk.id, part);
      return part;
    }
    const part = this.#open.get(chunk.id);
    if (!part) return undefined;
    if (step === "delta") part.text += chunk.delta;
    if (step === "end") {
      part.state = "done";
      this.#open.delete(chunk.id);
    }
    return part;
  }

  #tool(step, chunk) {
    // A call of an earlier leg may be known from the history.
    let part = this.#calls.get(chunk.toolCallId) ?? this.parts.find((one) => one.toolCallId === chunk.toolCallId);
    if (!part) {
      if (!chunk.toolName) return undefined;
      part = this.#add({
        ...(chunk.dynamic ? { type: "dynamic-tool", toolName: chunk.toolName } : { type: `tool-${chunk.toolName}` }),
        toolCallId: chunk.toolCallId,
        rawInput: "",
      });
      this.#calls.set(chunk.toolCallId, part);
    }
    switch (step) {
      case "input-start":
        part.state = "input-streaming";
        break;
      case "input-delta":
        part.rawInput += chunk.inputTextDelta;
        break;
      case "input-available":
        Object.assign(part, { state: "input-available", input: chunk.input });
        break;
      case "approval-request":
        part.state = "approval-requested";
        break;
      case "output-available":
        Object.assign(part, { state: "output-available", output: chunk.output, preliminary: chunk.preliminary });
        break;
      case "input-error":
      case "output-error":
        Object.assign(part, { state: "output-error", errorText: chunk.errorText });
        break;
      case "output-denied":
        part.state = "output-denied";
    }
    return part;
  }
}

// "tool-input-start" -> ["tool", "input-start"]
function split(type) {
  const dash = type.indexOf("-");
  return dash < 0 ? [type, ""] : [type.slice(0, dash), type.slice(dash + 1)];
}

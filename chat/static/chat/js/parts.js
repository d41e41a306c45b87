// How each kind of part looks. What comes from a person or a model is only ever set as text.

export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// {element, update(part)} for a part, or null for one that is not shown.
export function partView(part) {
  if (part.type === "text") return textView();
  if (part.type === "reasoning") return reasoningView();
  if (part.type === "dynamic-tool" || part.type.startsWith("tool-")) return toolView();
  if (part.type === "file" || part.type.startsWith("source-")) return attachmentView();
  return null; // step-start, data-*
}

// Whether the part says anything: an answer of nothing but silent parts is an empty one.
export function says(part) {
  if (part.type === "text" || part.type === "reasoning") return part.text.trim() !== "";
  return part.type !== "step-start" && !part.type.startsWith("data-");
}

// A streamed text only grows; appending what is new keeps the browser's work small.
function growing(parent) {
  const node = parent.appendChild(new Text());
  return (text) => {
    if (text.length > node.length) node.appendData(text.slice(node.length));
  };
}

function textView() {
  const element = clone("text-part");
  const grow = growing(element);
  return { element, update: (part) => grow(part.text) };
}

function reasoningView() {
  const element = clone("reasoning-part");
  const grow = growing(element.querySelector(".reasoning-text"));
  const label = element.querySelector(".reasoning-label");
  return {
    element,
    update(part) {
      grow(part.text);
      element.hidden = part.state !== "streaming" && !says(part); // some providers only sign, and say nothing
      setText(label, part.state === "streaming" ? "Thinking…" : "Thought");
    },
  };
}

const TOOL_STATES = {
  "input-streaming": ["Preparing", "running"],
  "input-available": ["Running", "running"],
  "approval-requested": ["Waiting for approval", "waiting"],
  "approval-responded": ["Decided", "waiting"],
  "output-available": ["Done", "done"],
  "output-error": ["Failed", "failed"],
  "output-denied": ["Denied", "failed"],
};

// Tools that this page can run for an agent, when the person wants it.
const CLIENT_TOOLS = {
  browser_time_zone: {
    question: "The assistant asks for your time zone.",
    accept: "Tell it",
    refuse: "Do not tell",
    run: () => Intl.DateTimeFormat().resolvedOptions().timeZone,
  },
};
const UNKNOWN_TOOL = { question: "This tool runs in another program of yours.", accept: "", refuse: "Go on without it" };

function toolView() {
  const element = clone("tool-part");
  const find = (name) => element.querySelector(`.${name}`);
  const state = find("tool-state");
  const decision = find("tool-decision");
  return {
    element,
    // Asks for a decision on the call (as the API tells it), which is said once; without a call, for none.
    ask(call, decide) {
      decision.hidden = !call;
      if (!call) return setText(state, state.dataset.look === "waiting" ? "Decided" : state.textContent);
      const [yes, no] = decision.querySelectorAll("button");
      const { question, accept, refuse, run } = CLIENT_TOOLS[call.tool_name] ?? UNKNOWN_TOOL;
      const isApproval = call.kind === "approval";
      setText(state, isApproval ? "Waiting for approval" : "Waiting for you");
      state.dataset.look = "waiting";
      setText(find("tool-question"), isApproval ? "May this be done?" : question);
      setText(yes, isApproval ? "Approve" : accept);
      setText(no, isApproval ? "Deny" : refuse);
      yes.hidden = !isApproval && !run;
      yes.disabled = no.disabled = false;
      const say = (said) => {
        yes.disabled = no.disabled = true;
        decide(said);
      };
      yes.onclick = () => say(isApproval ? { approved: true } : { output: run() });
      no.onclick = () => say(isApproval ? { approved: false } : { error: "The user did not want it." });
      return undefined;
    },
    update(part) {
      setText(find("tool-name"), part.toolName ?? part.type.slice("tool-".length));
      const [label, look] = TOOL_STATES[part.preliminary ? "input-available" : part.state] ?? [part.state, "running"];
      setText(state, label);
      state.dataset.look = look;
      field(find("tool-input"), part.input ?? (part.rawInput || undefined));
      field(find("tool-output"), part.output);
      field(find("tool-error"), part.errorText);
    },
  };
}

function field(element, value) {
  element.hidden = value === undefined;
  if (value === undefined) return;
  setText(element.querySelector("pre"), typeof value === "string" ? value : json(value));
}

// What is short enough stands on one line. (JSON breaks lines only between values, never inside a string.)
function json(value) {
  const lines = JSON.stringify(value, null, 2);
  const line = lines.replace(/\n */g, " ");
  return line.length <= 60 ? line : lines;
}

function attachmentView() {
  const element = clone("attachment-part");
  const link = element.querySelector("a");
  return {
    element,
    update(part) {
      setText(link, part.filename ?? part.title ?? part.url ?? part.mediaType);
      // Only what is safe to open is a link: never `javascript:` or a document inside the address.
      if (/^https?:\/\//i.test(part.url ?? "")) link.href = part.url;
    },
  };
}

// Setting the same text again would make a screen reader say it again.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

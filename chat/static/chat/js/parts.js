// How each kind of part looks. What comes from a person or a model is only ever set as text; HTML only as the server has
// made and cleaned it.

import * as api from "./api.js";

export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// {element, update(part)} for a part, or null for one that is not shown.
export function partView(part) {
  if (part.type === "text") return textView();
  if (part.type === "reasoning") return reasoningView();
  if (part.type === "dynamic-tool" || part.type.startsWith("tool-")) return toolView();
  if (part.type === "file") return fileView(part);
  if (part.type.startsWith("source-")) return sourceView();
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
  let isDressed = false;
  return {
    element,
    update: (part) => isDressed || grow(part.text),
    // The whole text as HTML that the server has rendered.
    dress(html) {
      isDressed = true;
      element.innerHTML = html;
      element.dataset.dressed = "";
      for (const link of element.querySelectorAll("a")) link.target = "_blank";
      for (const block of element.querySelectorAll("pre")) {
        const frame = document.createElement("div");
        frame.className = "code-frame";
        block.replaceWith(frame);
        frame.append(clone("code-head"), block);
        const language = block.querySelector("code")?.className.replace("language-", "");
        setText(frame.querySelector(".code-language"), language || "code");
      }
    },
  };
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
  const editor = find("tool-editor");
  const box = editor.querySelector("textarea");
  const problem = editor.querySelector(".tool-problem");
  let input;
  const edits = (editing) => {
    editor.hidden = !editing;
    find("tool-input").hidden = editing || input === undefined;
  };
  // The decision that the call may be done, with the input that was changed; null for one that cannot be read.
  const approval = () => {
    if (editor.hidden) return { approved: true };
    try {
      const changed = JSON.parse(box.value);
      return JSON.stringify(changed) === JSON.stringify(input) ? { approved: true } : { approved: true, input: changed };
    } catch {
      setText(problem, "This is not valid JSON.");
      box.setAttribute("aria-invalid", "true");
      box.focus();
      return null;
    }
  };
  box.addEventListener("input", () => {
    setText(problem, "");
    box.removeAttribute("aria-invalid");
  });
  return {
    element,
    // Asks for a decision on the call (as the API tells it), which is said once; without a call, for none.
    ask(call, decide) {
      decision.hidden = !call;
      if (!call) {
        edits(false);
        return setText(state, state.dataset.look === "waiting" ? "Decided" : state.textContent);
      }
      const [yes, no, edit] = decision.querySelectorAll("button");
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
        if (!said) return;
        yes.disabled = no.disabled = true;
        decide(said);
      };
      edit.hidden = !isApproval || !editor.hidden;
      edit.onclick = () => {
        box.value = JSON.stringify(input ?? {}, null, 2);
        edits(true);
        edit.hidden = true;
        box.focus();
      };
      yes.onclick = () => say(isApproval ? approval() : { output: run() });
      no.onclick = () => say(isApproval ? { approved: false } : { error: "The user did not want it." });
      return undefined;
    },
    update(part) {
      setText(find("tool-name"), part.toolName ?? part.type.slice("tool-".length));
      const [label, look] = TOOL_STATES[part.preliminary ? "input-available" : part.state] ?? [part.state, "running"];
      setText(state, label);
      state.dataset.look = look;
      input = part.input ?? (part.rawInput || undefined);
      field(find("tool-input"), input);
      edits(!editor.hidden);
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

// Only what is safe to open is a link: never `javascript:` or a document inside the address.
const isAddress = (url = "") => /^https?:\/\//i.test(url);

function sourceView() {
  const element = clone("source-part");
  const link = element.querySelector("a");
  return {
    element,
    update(part) {
      setText(link, part.title ?? part.url ?? part.filename ?? part.mediaType);
      if (isAddress(part.url)) link.href = part.url;
    },
  };
}

// A picture is shown where it costs no request to a foreign host: one that was uploaded here, or that is in its address.
const PICTURE = /^data:image\/(png|jpeg|gif|webp);base64,/;

function fileView({ url = "", mediaType = "", filename }) {
  const isOurs = api.isUploaded(url);
  const isPicture = (isOurs && mediaType.startsWith("image/")) || PICTURE.test(url);
  const element = clone(isPicture ? "picture-part" : "file-part");
  const name = filename || mediaType;
  if (isPicture) {
    const picture = element.querySelector("img");
    picture.src = url;
    picture.alt = name;
  } else {
    setText(element.querySelector(".file-name"), name);
  }
  if (isOurs || isAddress(url)) element.href = url;
  return { element, update() {} };
}

// A number of bytes as people say it.
export function sizeOf(bytes) {
  const [divisor, unit] = bytes < 1024 * 1024 ? [1024, "KB"] : [1024 * 1024, "MB"];
  return `${Math.round((bytes / divisor) * 10) / 10} ${unit}`;
}

// Setting the same text again would make a screen reader say it again.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

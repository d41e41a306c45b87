// What is typed and not sent, and the files that go with it, thread by thread, for as long as the tab is open: a login, a
// reload or a look at another thread in between loses none of it.

const PREFIX = "draft";
const EMPTY = { text: "", files: [] };
const key = (threadId) => `${PREFIX} ${document.body.dataset.user} ${threadId ?? "new"}`;

// {text, files}: files as the parts that name them.
export function read(threadId) {
  return attempt(() => JSON.parse(sessionStorage.getItem(key(threadId)))) ?? EMPTY;
}

export function write(threadId, { text, files }) {
  const draft = { text, files };
  const isEmpty = !text && !files.length;
  attempt(() =>
    isEmpty ? sessionStorage.removeItem(key(threadId)) : sessionStorage.setItem(key(threadId), JSON.stringify(draft)),
  );
}

// Puts one behind the draft that there is.
export function add(threadId, draft) {
  write(threadId, joined(read(threadId), draft));
}

export const joined = (one, other) => ({
  text: [one.text, other.text].filter((text) => text.trim()).join("\n\n"),
  files: [...one.files, ...other.files],
});

// Who logs out leaves nothing behind.
export function clear() {
  attempt(() => {
    for (const name of Object.keys(sessionStorage)) if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
  });
}

// A browser may refuse storage, or have no room left: then a draft lives only in the box.
function attempt(action) {
  try {
    return action();
  } catch {
    return undefined;
  }
}

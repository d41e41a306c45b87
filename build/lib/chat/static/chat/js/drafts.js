// What is typed and not sent, thread by thread, for as long as the tab is open: a login, a reload or a look at another
// thread in between loses none of it.

const PREFIX = "draft";
const key = (threadId) => `${PREFIX} ${document.body.dataset.user} ${threadId ?? "new"}`;

export function read(threadId) {
  return attempt(() => sessionStorage.getItem(key(threadId))) ?? "";
}

export function write(threadId, text) {
  attempt(() => (text ? sessionStorage.setItem(key(threadId), text) : sessionStorage.removeItem(key(threadId))));
}

// Puts a text behind the draft that there is.
export function add(threadId, text) {
  write(threadId, joined(read(threadId), text));
}

export const joined = (...texts) => texts.filter((text) => text.trim()).join("\n\n");

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

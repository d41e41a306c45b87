// Puts the page together: addresses, the list of threads, the open thread and the composer.

import * as api from "./api.js";
import { announce } from "./announce.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import * as drafts from "./drafts.js";
import { Drawer } from "./drawer.js";
import { Earlier } from "./earlier.js";
import { Feedback } from "./feedback.js";
import { MessageLog } from "./message-log.js";
import { Revisions } from "./revisions.js";
import { Follower } from "./scroll.js";
import { Search } from "./search.js";
import { Share } from "./share.js";
import { ThreadList, titleOf } from "./thread-list.js";
import { ThreadMenu } from "./thread-menu.js";

const { home } = document.body.dataset;
const heading = document.getElementById("thread-title");
const toLatest = document.getElementById("to-latest");

const list = new ThreadList();
const listed = list.refresh();
const drawer = new Drawer();
const search = new Search();
new ThreadMenu(list, {
  renamed: ({ id }) => openThread() === id && showTitle(id),
  gone: (threadId) => openThread() === threadId && go(home),
});
const follower = new Follower(
  document.getElementById("pane"),
  document.getElementById("column"),
  (following) => (toLatest.hidden = following),
);
const composer = new Composer(document.getElementById("composer"), {
  onSend: (said) => conversation.send(said),
  onStop: () => conversation.stop(),
});
const pane = document.getElementById("log");
const log = new MessageLog(pane);
const failed = (error, action) => composer.tellError(error, action);
const feedback = new Feedback(pane, log, failed);
const share = new Share();
const revisions = new Revisions(pane, log, {
  thread: () => conversation.thread,
  changed: () => conversation.changed(),
  failed,
  ask: (text) => (composer.focus(), conversation.send({ text })),
  async forked(thread) {
    await list.refresh();
    go(`${home}threads/${thread.id}/`);
    announce(`A new thread: ${titleOf(thread)}`);
  },
});
const earlier = new Earlier(log, follower, failed);
const conversation = new Conversation({ log, composer, follower, revisions, earlier }, {
  async started(threadId) {
    const isNew = threadId !== openThread();
    if (isNew) history.pushState(null, "", `${home}threads/${threadId}/`);
    share.thread = threadId;
    await list.refresh();
    if (openThread() === threadId) showTitle(threadId);
  },
  async ended() {
    await list.refresh();
    showTitle(openThread());
  },
  missing() {
    entitle("No such thread");
    composer.tell("There is no such thread, or it is not yours.", { label: "Try again", run: show });
  },
});

// The thread that the address names, or null for a new one.
function openThread() {
  const match = location.pathname.slice(home.length).match(/^threads\/([0-9a-f-]{36})\/$/);
  return match && match[1];
}

function show() {
  const threadId = openThread();
  composer.tell(null);
  showTitle(threadId);
  share.thread = threadId;
  conversation.open(threadId);
  feedback.open(threadId);
}

async function showTitle(threadId) {
  list.select(threadId);
  if (threadId === null) return entitle("New thread");
  await listed;
  if (openThread() !== threadId) return undefined;
  const known = list.titleOf(threadId);
  if (known) return entitle(known);
  entitle("…");
  try {
    const thread = await api.thread(threadId); // too old for the part of the list that is loaded
    if (openThread() === threadId) entitle(titleOf(thread));
  } catch (error) {
    // The messages' own request says what is wrong.
    if (error.status === 404 && openThread() === threadId) entitle("No such thread");
  }
  return undefined;
}

function entitle(title) {
  heading.textContent = title;
  document.title = `${title} · Durable Chat`;
}

function go(path) {
  if (path !== location.pathname) history.pushState(null, "", path);
  drawer.close();
  show();
  if (matchMedia("(pointer: fine)").matches) composer.focus(); // on a phone the keyboard would cover the thread
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.thread, a[data-new-thread]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (link.closest("#hits")) search.clear();
  go(new URL(link.href).pathname);
});

document.getElementById("welcome").addEventListener("click", (event) => {
  const suggestion = event.target.closest("[data-suggestion]");
  if (!suggestion) return;
  composer.focus();
  conversation.send({ text: suggestion.dataset.suggestion });
});

document.getElementById("logout").addEventListener("submit", () => drafts.clear());
toLatest.addEventListener("click", () => follower.follow());
addEventListener("popstate", show);

show();
if (matchMedia("(pointer: fine)").matches) composer.focus();

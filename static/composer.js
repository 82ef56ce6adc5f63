// Composer: Ctrl+Enter, drafts, and refused replies.
(() => {
  const KEEP_AFTER = 700; // milliseconds after the last key
  const WRITES = 4000; // milliseconds after the last key: others see "is writing" this long
  const AGAIN = 1500; // milliseconds: ignore a repeated send shortcut on an empty composer
  const byId = (id) => document.getElementById(id);
  const composer = () => byId("composer");
  const box = () => byId("text");
  const chatOf = (form) => form.elements.for_chat.value;
  let form = null; // the current composer form
  let key = ""; // idempotency key of the draft, shared by all tabs
  let isTouched = false, isUnkept = false, writtenAt = 0;
  let timer, keeping = Promise.resolve(), typedAt = -WRITES, sentAt = -AGAIN;

  const say = (sentence) => {
    const place = byId("refusal");
    if (!place) return;
    place.querySelector("span").textContent = sentence;
    place.hidden = !sentence;
  };

  // --- the draft ---------------------------------------------------------------------------------------------
  // A chat was opened: use the server's draft, or this browser's copy if it is newer.
  const adopt = () => {
    if (form === composer()) return;
    clearTimeout(timer);
    form = composer();
    isTouched = isUnkept = false;
    typedAt = -WRITES;
    if (!form) return;
    key = form.elements.key.value;
    writtenAt = Number(form.elements.key.dataset.at || 0);
    count();
    if (form.querySelector("[data-erased]")) for (const kind of ["draft", "note", "sending"]) okno.kept.remove(kind, chatOf(form));
    const copy = okno.kept.read("draft", chatOf(form));
    if (!copy) return;
    if (copy.at < writtenAt) { okno.kept.remove("draft", chatOf(form)); return; }
    box().value = copy.text;
    [key, writtenAt, isTouched, isUnkept] = [copy.key, copy.at, true, true];
    count();
    noticeSent();
    keepSoon();
  };

  // Show the length near the maximum.
  const count = () => {
    const place = byId("count"), most = Number(place.dataset.most), { length } = [...box().value];
    place.hidden = length < most * 0.9;
    place.classList.toggle("over", length > most);
    const number = (n) => n.toLocaleString(document.documentElement.lang);
    place.textContent = length > most ? place.dataset.over.replace("{n}", number(length - most)) : `${number(length)} / ${number(most)}`;
  };

  const keepSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(keep, KEEP_AFTER);
  };
  // Save the draft on the server, one request at a time. Failed saves are retried when the connection is back.
  const keep = () => {
    clearTimeout(timer);
    if (!isUnkept || !form) return keeping;
    isUnkept = false;
    const mine = form, at = writtenAt, chat = chatOf(form);
    const values = { text: box().value, once: key, written_at: at, for_chat: chat };
    keeping = keeping.then(async () => {
      const answer = await okno.tell(mine.dataset.draft, values);
      if (answer.status === 409 && (await answer.json()).reason === "draft_sent") {
        if (mine === form && key === values.once) sentElsewhere();
      } else if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      else if (okno.kept.read("draft", chat)?.at === at) okno.kept.remove("draft", chat);
    }).catch(() => { if (mine === form) isUnkept = true; });
    return keeping;
  };
  const keepCopy = () => {
    writtenAt = Math.round(Math.max(okno.now(), writtenAt + 1));
    okno.kept.write("draft", chatOf(form), { text: box().value, key, at: writtenAt });
  };

  // Call after every change of the text.
  const changed = () => {
    isTouched = isUnkept = true;
    count();
    keepCopy();
    keepSoon();
  };
  document.addEventListener("input", (event) => {
    if (event.target.id !== "text") return;
    typedAt = performance.now();
    say(""); // the refusal was about the previous text
    changed();
  });
  addEventListener("okno:connected", () => { if (performance.now() - typedAt > KEEP_AFTER) keep(); });
  addEventListener("online", () => keep());
  addEventListener("pagehide", () => { // a beacon outlives the page
    if (!isUnkept || !form || okno.isLocked()) return;
    const body = new FormData();
    const values = { text: box().value, once: key, written_at: writtenAt, for_chat: chatOf(form), for_user: okno.user, csrfmiddlewaretoken: okno.token() };
    for (const [name, value] of Object.entries(values)) body.set(name, value);
    navigator.sendBeacon(form.dataset.draft, body);
  });

  // --- the same draft elsewhere ------------------------------------------------------------------------------
  // Clear a draft that was sent from another tab or device, unless it was changed here.
  const plain = (words) => words.replace(/[\s*_~`]+/g, "");
  const sentBubble = () => byId("messages")?.querySelector(`[data-form="${CSS.escape(key)}"]`);
  const noticeSent = () => { if (form && key && sentBubble()) sentElsewhere(); };
  const sentElsewhere = () => {
    const words = sentBubble()?.querySelector(".text")?.textContent;
    const isSame = !isTouched || (words !== undefined && plain(words) === plain(box().value));
    key = okno.newKey();
    if (!box().value.trim()) return;
    if (isSame) {
      empty();
      say("");
    } else {
      say(form.dataset.sentElsewhere);
      changed();
    }
  };
  const empty = () => {
    clearTimeout(timer);
    box().value = "";
    count();
    isTouched = isUnkept = false;
    okno.kept.remove("draft", chatOf(form));
    dispatchEvent(new Event("okno:emptied"));
  };

  // A failed message became a draft on the server: show it in the composer.
  addEventListener("okno:draft", ({ detail: { draft, draft_key: itsKey, draft_at: at, refusal } }) => {
    if (!form || form !== composer()) return;
    noticeSent();
    if (refusal) say(refusal);
    if (!draft || box().value.trim() || isUnkept || at < writtenAt || okno.sending.has(itsKey)) return;
    box().value = draft;
    [key, writtenAt, isTouched] = [itsKey, at, false];
    count();
  });
  addEventListener("okno:refused", (event) => say(event.detail));
  addEventListener("okno:opened", adopt);
  addEventListener("okno:locked", () => { clearTimeout(timer); isUnkept = false; });

  // --- sending --------------------------------------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "text" || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!event.repeat && !event.isComposing) composer().requestSubmit();
  });

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "composer") return;
    event.preventDefault();
    if (event.target !== form || form.closest("[inert]") || okno.files.going()) return;
    const text = box().value, uploads = okno.files.ids();
    if (!text.trim() && !uploads.length && performance.now() - sentAt < AGAIN) return;
    const files = okno.files.names(), values = [["text", text], ...uploads.map((id) => ["upload", id])];
    send({ address: form.getAttribute("action"), values, text, files, box: text });
  });

  // Post text under the draft's key and empty the composer at once. `key`: for text that is not the draft.
  const send = (what, { returns, key: ownKey } = {}) => {
    const [sendsDraft, sendsFiles] = [!ownKey, what.files?.length];
    const record = {
      files: [], ...what, key: ownKey || key, chat: chatOf(form), at: Math.round(okno.now()),
      values: [...what.values, ...Object.entries(okno.replying.to()), ["once", ownKey || key], ["for_chat", chatOf(form)]],
    };
    say("");
    sentAt = performance.now();
    const quotes = okno.replying.take(), chips = sendsFiles ? okno.files.take() : [];
    const done = okno.sending.send(record, { before: keeping, returns: (told) => { quotes(); okno.files.give(chips); returns?.(told); } });
    if (sendsDraft) {
      key = okno.newKey();
      empty();
    }
    box().focus();
    return done;
  };

  // Put refused or edited text back, before newer text.
  const takeBack = (record, { reason, sentence = "" }) => {
    const words = record.box || "", isHere = form && record.chat === chatOf(form);
    if (!isHere) {
      const copy = okno.kept.read("draft", record.chat);
      const text = [words, copy?.text].filter(Boolean).join("\n");
      if (text) okno.kept.write("draft", record.chat, { text, key: okno.newKey(), at: Math.round(okno.now()) });
      return;
    }
    say(sentence);
    const bubble = byId("messages")?.querySelector(`[data-form="${CSS.escape(record.key)}"] .text`);
    if (reason === "draft_sent" && bubble && plain(bubble.textContent) === plain(words)) return;
    if (words) {
      // Keep the record's key: if it was sent after all, it is not sent again.
      key = reason === "draft_sent" ? okno.newKey() : record.key;
      box().value = [words, box().value].filter((one) => one.trim()).join("\n");
      changed();
    }
    if (sentence && !reason) dispatchEvent(new Event("okno:unsent"));
  };

  const writes = () => performance.now() - typedAt < WRITES && Boolean(box()?.value.trim());
  const leave = () => { if (form) keep(); };
  window.okno = Object.assign(window.okno || {}, { composer: { say, changed, keep, leave, send, takeBack, writes } });
  adopt();

  // "Choose a template" of a failed message opens the composer's picker.
  document.addEventListener("click", (event) => {
    const picker = event.target.closest?.("[data-choose-template]") && document.querySelector("#composer .pick-template");
    if (!picker || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    picker.click();
    picker.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-to-box]");
    if (!button || !box()) return;
    // If two operators resend the same failed message, it is sent once.
    if (!box().value.trim() && button.dataset.key) key = button.dataset.key;
    okno.insert(button.dataset.toBox, { atEnd: true, apart: "\n" });
  });
})();

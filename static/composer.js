// Composer: keys that send, drafts, and refused replies.
(() => {
  const SAVE_DELAY = 700; // milliseconds after the last key
  const WRITING_TIME = 4000; // milliseconds after the last key: others see "is writing" this long
  const KEEP_TIME = 5000; // milliseconds: a page that is being loaded may have been made just before the draft was saved
  const REPEAT_TIME = 1500; // milliseconds: ignore a repeated send shortcut on an empty composer
  const byId = (id) => document.getElementById(id);
  const composer = () => byId("composer");
  const box = () => byId("text");
  const chatOf = (form) => form.elements.for_chat.value;
  let form = null; // the current composer form
  let key = ""; // idempotency key of the draft, shared by all tabs
  let isTouched = false, isUnsaved = false, writtenAt = 0;
  let isKept = false; // the form is from the cache: its draft may have changed elsewhere
  const keptForms = new WeakSet();
  let timer, saving = Promise.resolve(), typedAt = -WRITING_TIME, sentAt = -REPEAT_TIME;

  // --- the draft ---------------------------------------------------------------------------------------------
  // A chat was opened: use the server's draft, or this browser's copy if it is newer.
  const startForm = () => {
    if (form === composer()) return;
    clearTimeout(timer);
    storeState();
    form = composer();
    isKept = Boolean(form) && keptForms.has(form);
    isTouched = isUnsaved = false;
    typedAt = -WRITING_TIME;
    if (!form) return;
    key = form.elements.key.value;
    writtenAt = Number(form.elements.key.dataset.at || 0);
    if (!isKept) box().setSelectionRange(box().value.length, box().value.length); // the operator goes on behind the draft
    showLength();
    if (form.querySelector("[data-erased]")) for (const kind of ["draft", "note", "threadNote", "sending"]) okno.localCopies.remove(kind, chatOf(form));
    const copy = okno.localCopies.read("draft", chatOf(form));
    if (!copy) return;
    if (copy.at <= writtenAt || Date.now() - copy.savedAt > KEEP_TIME) { okno.localCopies.remove("draft", chatOf(form)); return; }
    box().value = copy.text;
    [key, writtenAt, isTouched, isUnsaved] = [copy.key, copy.at, true, true];
    showLength();
    checkSent();
    scheduleSave();
  };

  // Show the text length when it is near the maximum.
  const showLength = () => {
    const label = byId("count"), max = Number(label.dataset.max), { length } = [...box().value];
    label.hidden = length < max * 0.8;
    if (length > max && !label.classList.contains("over")) byId("announcer").textContent = label.dataset.tooLong.replace("{n}", length - max);
    label.classList.toggle("over", length > max);
    const number = (n) => n.toLocaleString(document.documentElement.lang);
    label.textContent = length > max ? label.dataset.tooLong.replace("{n}", number(length - max)) : `${number(length)} / ${number(max)}`;
  };

  const scheduleSave = () => {
    clearTimeout(timer);
    timer = setTimeout(saveDraft, SAVE_DELAY);
  };
  // Save the draft on the server, one request at a time. Failed saves are retried when the connection is back.
  const saveDraft = () => {
    clearTimeout(timer);
    if (!isUnsaved || !form) return saving;
    isUnsaved = false;
    const ownForm = form, at = writtenAt, chat = chatOf(form);
    const values = { text: box().value, once: key, written_at: at, for_chat: chat };
    saving = saving.then(async () => {
      const answer = await okno.postAsUser(ownForm.dataset.draft, values);
      if (answer.status === 409 && (await answer.json()).reason === "draft_sent") {
        if (ownForm === form && key === values.once) onSentElsewhere();
      } else if (answer.status === 410) { // the client was erased
        okno.localCopies.remove("draft", chat);
      } else if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      else {
        const copy = okno.localCopies.read("draft", chat);
        if (copy?.at === at) okno.localCopies.write("draft", chat, { ...copy, savedAt: Date.now() });
        setTimeout(() => { if (okno.localCopies.read("draft", chat)?.at === at) okno.localCopies.remove("draft", chat); }, KEEP_TIME);
        okno.draftMarks.update(chat, values.text);
      }
    }).catch(() => { if (ownForm === form) isUnsaved = true; });
    return saving;
  };
  // The chat may be shown again from the cache, with this form.
  const storeState = () => {
    if (!form) return;
    form.elements.key.value = key;
    form.elements.key.dataset.at = writtenAt;
    keptForms.add(form);
  };
  const saveCopy = () => {
    writtenAt = Math.round(Math.max(okno.now(), writtenAt + 1));
    okno.localCopies.write("draft", chatOf(form), { text: box().value, key, at: writtenAt });
  };

  // Call after every change of the text.
  const onTextChange = () => {
    isTouched = isUnsaved = true;
    isKept = false;
    showLength();
    saveCopy();
    scheduleSave();
  };
  document.addEventListener("input", (event) => {
    if (event.target.id !== "text") return;
    typedAt = performance.now();
    onTextChange();
  });
  addEventListener("okno:connected", () => { if (performance.now() - typedAt > SAVE_DELAY) saveDraft(); });
  addEventListener("online", () => saveDraft());
  addEventListener("pagehide", () => { // a beacon is delivered after the page is gone
    if (!isUnsaved || !form || okno.isLocked()) return;
    const body = new FormData();
    const values = { text: box().value, once: key, written_at: writtenAt, for_chat: chatOf(form), for_user: okno.user, csrfmiddlewaretoken: okno.token() };
    for (const [name, value] of Object.entries(values)) body.set(name, value);
    navigator.sendBeacon(form.dataset.draft, body);
  });

  // --- the same draft in another tab ------------------------------------------------------------------------------
  // Clear a draft that was sent from another tab or device, unless it was changed here.
  const withoutMarkup = (words) => words.replace(/[\s*_~`]+/g, "");
  const sentBubble = () => byId("messages")?.querySelector(`[data-draft-key="${CSS.escape(key)}"]`);
  const checkSent = () => { if (form && key && sentBubble()) onSentElsewhere(); };
  const onSentElsewhere = () => {
    const words = sentBubble()?.querySelector(".text")?.textContent;
    const isSame = !isTouched || (words !== undefined && withoutMarkup(words) === withoutMarkup(box().value));
    key = okno.newKey();
    if (!box().value.trim()) return;
    if (isSame) {
      clearDraft();
      okno.refusals.clear();
    } else {
      okno.refusals.show(form.dataset.sentElsewhere, "text");
      onTextChange();
    }
  };
  const clearDraft = () => {
    clearTimeout(timer);
    box().value = "";
    showLength();
    isTouched = isUnsaved = false;
    okno.localCopies.remove("draft", chatOf(form));
    okno.draftMarks.update(chatOf(form), "");
    dispatchEvent(new Event("okno:draft-cleared"));
  };

  // A failed message became a draft on the server: show it in the composer.
  addEventListener("okno:draft-received", ({ detail: { draft, draft_key: draftKey, draft_at: at, refusal, refusal_until: until, ended } }) => {
    if (!form || form !== composer()) return;
    checkSent();
    for (const event of ended) okno.refusals.end(event);
    if (refusal) okno.refusals.show(refusal, until);
    const mayReplace = !box().value.trim() || (isKept && !isUnsaved);
    isKept = false;
    if (!draft || !mayReplace || isUnsaved || at < writtenAt || okno.sending.has(draftKey)) return;
    box().value = draft;
    [key, writtenAt, isTouched] = [draftKey, at, false];
    showLength();
  });
  // Tabs of a browser show the same draft: an older text in one of them would overwrite it with the next key.
  addEventListener("storage", ({ key: name }) => {
    if (!form || form !== composer() || name !== okno.localCopies.storageKey("draft", chatOf(form))) return;
    const copy = okno.localCopies.read("draft", chatOf(form));
    if (!copy || copy.at <= writtenAt || okno.sending.has(copy.key)) return;
    box().value = copy.text;
    [key, writtenAt, isTouched, isUnsaved] = [copy.key, copy.at, false, false]; // the other tab saves it
    showLength();
  });
  addEventListener("okno:chat-opened", startForm);
  addEventListener("okno:locked", () => { clearTimeout(timer); isUnsaved = false; });

  // --- sending --------------------------------------------------------------------------------------------------
  // Ctrl+Enter always sends. Enter sends if the operator's settings say so, but on touch keyboards it starts a new line,
  // because they have no Shift+Enter. While an input method composes a word, Enter belongs to it.
  const touchKeyboard = matchMedia("(hover: none) and (pointer: coarse)");
  const isSendKey = (event) => {
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return false;
    if (event.ctrlKey || event.metaKey) return true;
    return event.target.matches?.("#text, #note-text") && !event.shiftKey && !event.altKey && "enterSends" in composer().dataset && !touchKeyboard.matches;
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "text" || !isSendKey(event)) return;
    event.preventDefault();
    const isEmpty = !box().value.trim() && !okno.files.ids().length;
    if (event.repeat || (isEmpty && !event.ctrlKey && !event.metaKey)) return;
    composer().requestSubmit();
  });

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "composer") return;
    event.preventDefault();
    if (event.target !== form || form.closest("[inert]") || okno.files.isUploading()) return;
    const text = box().value, uploads = okno.files.ids();
    if (!text.trim() && !uploads.length && performance.now() - sentAt < REPEAT_TIME) return;
    const files = okno.files.names(), values = [["text", text], ...uploads.map((id) => ["upload", id])];
    send({ address: form.getAttribute("action"), values, text, files, box: text });
  });

  // Send a reply under the draft's key and clear the composer at once. `key`: key of a reply that is not the draft.
  const send = (reply, { onRefusal, key: ownKey } = {}) => {
    const [sendsDraft, sendsFiles] = [!ownKey, reply.files?.length];
    const record = {
      files: [], ...reply, key: ownKey || key, chat: chatOf(form), at: Math.round(okno.now()),
      values: [...reply.values, ...Object.entries(okno.quoting.fields()), ...Object.entries(okno.colleagueReplies.fields()), ["once", ownKey || key], ["for_chat", chatOf(form)]],
    };
    okno.refusals.clear();
    sentAt = performance.now();
    const restoreQuote = okno.quoting.detach(), chips = sendsFiles ? okno.files.detachChips() : [];
    const done = okno.sending.send(record, { before: saving, onRefusal: (result) => { restoreQuote(); okno.files.restoreChips(chips); onRefusal?.(result); } });
    if (sendsDraft) {
      key = okno.newKey();
      clearDraft();
    }
    box().focus();
    return done;
  };

  // Restore refused or edited text, in front of newer text.
  const restoreText = (record, { reason, sentence = "", until }) => {
    const words = record.box || "", isHere = form && record.chat === chatOf(form);
    if (!isHere) {
      const copy = okno.localCopies.read("draft", record.chat);
      const text = [words, copy?.text].filter(Boolean).join("\n");
      if (text) okno.localCopies.write("draft", record.chat, { text, key: okno.newKey(), at: Math.round(okno.now()) });
      return;
    }
    okno.refusals.show(sentence, until);
    const bubble = byId("messages")?.querySelector(`[data-draft-key="${CSS.escape(record.key)}"] .text`);
    if (reason === "draft_sent" && bubble && withoutMarkup(bubble.textContent) === withoutMarkup(words)) return;
    if (words) {
      // Keep the record's key, so that a message that was sent after all is not sent twice.
      key = reason === "draft_sent" ? okno.newKey() : record.key;
      box().value = [words, box().value].filter((one) => one.trim()).join("\n");
      onTextChange();
    }
    if (sentence && !reason) dispatchEvent(new Event("okno:reply-refused"));
  };

  const isWriting = () => performance.now() - typedAt < WRITING_TIME && Boolean(box()?.value.trim());
  const saveBeforeLeaving = () => { if (form) saveDraft(); };
  window.okno = Object.assign(window.okno || {}, { composer: { onTextChange, saveDraft, saveBeforeLeaving, isSendKey, send, restoreText, isWriting } });
  startForm();

  // "Choose a template" of a failed message opens the composer's picker.
  document.addEventListener("click", (event) => {
    const picker = event.target.closest?.("[data-choose-template]") && document.querySelector("#composer .pick-template");
    if (!picker || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    picker.click();
    picker.scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-to-composer]");
    if (!button || !box()) return;
    // If two operators resend the same failed message, it is sent once.
    if (!box().value.trim() && button.dataset.key) key = button.dataset.key;
    okno.insert(button.dataset.toComposer, { atEnd: true, separator: "\n" });
  });
})();

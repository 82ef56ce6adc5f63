// Template panel of the composer. Typed or pasted text that matches a template is recognized: its values become fields,
// and the text follows them. The operator can also pick a template. The server does all matching.
(() => {
  const PAUSE = 350; // milliseconds after the last key
  const PANEL_TIMEOUT = 30_000; // milliseconds
  const byId = (id) => document.getElementById(id);
  const panelArea = () => byId("template_panel");
  const box = () => byId("text");
  const currentPanel = () => panelArea()?.querySelector(".tp");
  const kind = () => currentPanel()?.dataset.kind || "";
  const sendButton = () => panelArea()?.querySelector("[data-go]");
  // The operator opened these panels, so typing does not close them.
  const isChosenByUser = () => ["picker", "picked", "hold", "canned"].includes(kind());
  let dismissedText = null; // the text whose panel the user closed
  let panelText = null; // the text that the panel describes

  const announcePanel = () => {
    const words = panelArea().querySelector(".tp-head p")?.textContent.trim();
    if (words) byId("announcer").textContent = words;
  };
  const show = (html) => {
    panelArea().innerHTML = html;
    announcePanel();
    dispatchEvent(new Event("okno:template-shown"));
  };
  const clearPanel = () => {
    if (!panelArea()?.childElementCount) return;
    panelArea().replaceChildren();
    dispatchEvent(new Event("okno:template-closed"));
  };
  const setBoxText = (text) => {
    if (text) panelText = text;
    if (!text || box().value === text) return;
    box().value = text;
    okno.composer.onTextChange();
  };
  const followFields = () => setBoxText(panelArea().querySelector('[data-part="text"]')?.textContent || "");
  const isOk = (answer) => answer.ok && !answer.redirected;
  // Return the HTML for a button that the operator pressed, or null after saying that there is no answer.
  const fetchPanel = async (button, ask) => {
    if (button.getAttribute("aria-busy")) return null;
    const isHere = chatGuard();
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await ask();
      if (answer.redirected) dispatchEvent(new Event("okno:signed-out"));
      if (!isOk(answer)) throw new Error(String(answer.status));
      const html = await answer.text();
      if (!isHere()) return null;
      okno.refusals.end("panel");
      return html;
    } catch {
      if (isHere()) okno.refusals.show(byId("composer").dataset.failed, "text action panel");
      return null;
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
  // Return a function that checks whether the same chat is still open and editable when a response arrives.
  const chatGuard = () => {
    const form = byId("composer");
    return () => Boolean(form) && form === byId("composer") && !form.closest("[inert]");
  };

  // --- recognition while typing -------------------------------------------------------------------------------------
  let wasSent = false;
  const recognition = okno.latestOnly(async (isLast) => {
    const form = byId("composer"), sent = wasSent;
    wasSent = false;
    if (!form || isChosenByUser()) return;
    const text = box().value;
    if (!document.querySelector("[data-recognizes]") || !text.trim() || (text === dismissedText && !sent)) { clearPanel(); return; }
    const answer = await okno.postAsUser(form.dataset.recognize, { text, sent: sent ? "1" : "" });
    const html = await answer.text();
    if (!isOk(answer) || !isLast() || form !== byId("composer") || isChosenByUser() || box().value !== text) return;
    if (answer.status === 204) { clearPanel(); return; }
    show(html);
    panelText = text;
    okno.refusals.end("template");
  });

  // If the operator sends before the panel has caught up with the typing, send the composer's text, not the panel's.
  const isPanelStale = () => kind() === "recognized" && box().value !== panelText;
  const catchUp = async () => {
    await recognition.now();
    return kind() === "recognized" && !isPanelStale() && Boolean(sendButton()) && !sendButton().disabled;
  };

  document.addEventListener("input", (event) => {
    if (event.target.id === "text") {
      if (event.target.value !== dismissedText) dismissedText = null;
      if (!isChosenByUser()) recognition.schedule(PAUSE);
    } else if (event.target.matches("[data-find]")) search.schedule(200);
    else if (event.target.matches('#template_panel textarea[name^="v."]')) preview.schedule();
  });

  // A refused reply: the panel explains it and offers actions.
  const onReplyRefused = () => { dismissedText = null; wasSent = true; recognition.now(); };
  addEventListener("okno:reply-refused", onReplyRefused);

  // --- fields ----------------------------------------------------------------------------------------------------
  const preview = okno.latestOnly(async (isLast) => {
    const address = panelArea().querySelector("[data-panel]")?.dataset.panel;
    if (!address) return;
    const panel = currentPanel();
    const answer = await okno.postAsUser(address, { ...okno.valuesIn(panelArea()), kind: kind() });
    const html = await answer.text();
    if (!isOk(answer) || !isLast() || !panel || panel !== currentPanel()) return;
    okno.updateParts(panelArea(), html);
    currentPanel().className = new DOMParser().parseFromString(html, "text/html").querySelector(".tp").className;
    if (kind() === "recognized") followFields();
  });

  // --- template picker -----------------------------------------------------------------------------------------------------
  const search = okno.latestOnly(async (isLast) => {
    const find = panelArea().querySelector("[data-find]");
    if (!find) return;
    const query = new URLSearchParams({ find: find.value, hold: panelArea().querySelector("[name=hold]") ? "1" : "" });
    const answer = await fetch(`${find.dataset.searchUrl || byId("composer").dataset.templates}?${query}`, { headers: { "HX-Request": "true" } });
    const html = await answer.text();
    if (isOk(answer) && isLast() && find.isConnected) okno.updateParts(panelArea(), html);
  });

  const pick = async (link) => {
    recognition.cancel();
    const signal = AbortSignal.timeout(PANEL_TIMEOUT);
    const html = await fetchPanel(link, () => fetch(link.href, { headers: { "HX-Request": "true" }, signal }));
    if (html === null) return;
    show(html);
    okno.refusals.end("template");
    (panelArea().querySelector("[data-find]") || panelArea().querySelector("[data-close-panel]"))?.focus();
  };

  const open = async (button) => {
    recognition.cancel();
    const values = { open: "1", kind: button.dataset.open };
    for (const field of panelArea().querySelectorAll('input[name^="v."]')) values[field.name] = field.value;
    if (button.name === "choice") values.choice = button.value;
    const html = await fetchPanel(button, () => okno.postAsUser(button.getAttribute("formaction"), values));
    if (html === null) return;
    show(html);
    if (kind() === "recognized") followFields();
    const fields = [...panelArea().querySelectorAll("textarea")];
    (fields.find((field) => !field.value) || (sendButton()?.disabled ? fields[0] : sendButton()))?.focus();
  };

  // --- sending -------------------------------------------------------------------------------------------------------
  const send = (button) => {
    if (button.disabled) return;
    const panelKind = kind(), text = box().value, values = okno.valuesIn(panelArea());
    const panelUrl = panelArea().querySelector("[data-panel]").dataset.panel;
    const words = panelKind === "recognized" ? text : panelArea().querySelector(".wa-body")?.textContent.trim() || "";
    const reply = { address: button.getAttribute("formaction"), text: words };
    const onRefusal = (result) => {
      result.showAgain = () => reopen(panelUrl, values, panelKind);
      result.shown = result.showAgain();
    };
    recognition.cancel();
    preview.cancel();
    if (panelKind === "picked") { // the composer keeps its own text
      okno.composer.saveDraft();
      reply.values = [...Object.entries(values), ["kind", panelKind]];
      okno.composer.send(reply, { key: okno.newKey(), onRefusal });
    } else {
      reply.values = [...Object.entries(values), ["kind", panelKind], ["text", text]];
      okno.composer.send({ ...reply, box: text }, panelKind === "hold" ? { onRefusal } : {});
    }
    clearPanel();
  };

  // Restore the fields of a refused template.
  const reopen = async (panelUrl, values, panelKind) => {
    const isHere = chatGuard();
    try {
      const answer = await okno.postAsUser(panelUrl, { ...values, kind: panelKind });
      const html = await answer.text();
      if (isOk(answer) && isHere()) show(html);
    } catch { /* no connection: the template can be chosen again */ }
  };

  const sendCurrent = async (button, fallback = () => {}) => {
    if (!isPanelStale()) { send(button); return; }
    const isHere = chatGuard();
    const isReady = await catchUp();
    if (!isHere()) return; // the text remains the draft of its chat
    if (isReady) send(sendButton());
    else fallback();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-pick], [data-open], [data-go], [data-canned-response], [data-close-panel]");
    if (!button || !byId("composer")?.contains(button) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if ("pick" in button.dataset) pick(button);
    else if ("open" in button.dataset) open(button);
    else if ("go" in button.dataset) sendCurrent(button);
    else if ("cannedResponse" in button.dataset) insertResponse(button.dataset.cannedResponse);
    else close();
  });

  const close = () => {
    dismissedText = box().value;
    recognition.cancel();
    clearPanel();
    box().focus();
  };

  // Insert a canned response at the caret.
  const insertResponse = (text) => {
    clearPanel();
    okno.insert(text);
  };

  // `/` at the beginning of a line opens the canned responses.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target !== box() || event.ctrlKey || event.metaKey || event.altKey) return;
    const { selectionStart: from, selectionEnd: to, value } = event.target;
    if (from !== to || (from && value[from - 1] !== "\n")) return;
    event.preventDefault();
    pick(document.querySelector("[data-canned-responses]"));
  });

  // Ctrl+Enter in a template field sends the template. In the composer, the send key sends the text, as a template if it
  // was recognized as one, but never a template that was picked in addition to the text.
  const sendByKey = (event, inPanel) => {
    const isField = inPanel && event.target.matches("textarea, select, input");
    const isBox = event.target === box() && kind() === "recognized" && sendButton();
    if (!isField && !isBox) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat || event.target.closest("[inert]")) return;
    if (isBox) sendCurrent(sendButton(), () => byId("composer").requestSubmit());
    else if (sendButton() && !event.target.matches("[data-find]")) sendFilled();
  };
  // The operator may press Ctrl+Enter before the server has validated the fields.
  const sendFilled = async () => {
    const panel = currentPanel();
    if (sendButton().disabled) await preview.now();
    if (panel === currentPanel() && sendButton() && !sendButton().disabled) sendCurrent(sendButton());
  };

  document.addEventListener("keydown", (event) => {
    const inPanel = panelArea()?.contains(event.target);
    if (okno.composer.isSendKey(event)) sendByKey(event, inPanel);
    else if (event.key === "Escape" && inPanel) close();
    else if (event.key === "Enter" && event.target.matches?.("[data-find]")) {
      event.preventDefault();
      panelArea().querySelector(".tp-pick")?.click();
    } else if (inPanel && (event.key === "ArrowDown" || event.key === "ArrowUp")) move(event);
  }, true);

  const move = (event) => {
    const rows = [...panelArea().querySelectorAll(".tp-pick")], at = rows.indexOf(event.target);
    if (at < 0 && !event.target.matches("[data-find]")) return;
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    (rows[next] || (next < 0 ? panelArea().querySelector("[data-find]") : null))?.focus();
  };

  // --- chat or window state changed ---------------------------------------------------------------------
  let chat = null, canRecognize = null;
  const onChatOpened = () => {
    if (byId("chat") === chat) return;
    chat = byId("chat");
    dismissedText = null;
    canRecognize = Boolean(document.querySelector("[data-recognizes]"));
    for (const request of [recognition, preview, search]) request.cancel();
    if (box()?.value.trim() && !currentPanel()) { wasSent = !byId("refusal").hidden; recognition.now(); }
  };
  addEventListener("okno:chat-opened", onChatOpened);
  addEventListener("okno:draft-cleared", () => {
    recognition.cancel();
    if (!isChosenByUser() || kind() === "canned") clearPanel();
  });
  addEventListener("okno:draft-received", () => {
    const canNow = Boolean(document.querySelector("[data-recognizes]"));
    if (canNow === canRecognize) return;
    canRecognize = canNow;
    if (!isChosenByUser()) recognition.now();
  });
  onChatOpened();
})();

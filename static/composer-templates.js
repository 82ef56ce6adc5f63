// Templates where one writes. Text that is a template is recognized while one types (or pastes) it, and its values
// become fields that the text follows; or one picks a template. The server knows templates, this only asks it.
(() => {
  const PAUSE = 350; // milliseconds after the last key
  const byId = (id) => document.getElementById(id);
  const place = () => byId("template_panel");
  const box = () => byId("text");
  const shown = () => place()?.querySelector(".tp");
  const kind = () => shown()?.dataset.kind || "";
  const go = () => place()?.querySelector("[data-go]");
  // Chosen by the operator: typing does not close these panels.
  const stays = () => ["picker", "picked", "hold", "canned"].includes(kind());
  let closed = null; // the text for which the panel was closed by hand
  let read = null; // the text that the panel is about

  const speak = () => {
    const words = place().querySelector(".tp-head p")?.textContent.trim();
    if (words) byId("spoken").textContent = words;
  };
  const show = (html) => {
    place().innerHTML = html;
    speak();
  };
  const shut = () => { if (place()) place().replaceChildren(); };
  const inBox = (text) => {
    if (text) read = text;
    if (!text || box().value === text) return;
    box().value = text;
    okno.composer.changed();
  };
  const followed = () => inBox(place().querySelector('[data-part="text"]')?.textContent || "");
  const ok = (answer) => answer.ok && !answer.redirected;
  // Whether the chat of now is still open and takes words: an answer may come when another one is shown.
  const stillHere = () => {
    const form = byId("composer");
    return () => Boolean(form) && form === byId("composer") && !form.closest("[inert]");
  };

  // --- what is being typed -------------------------------------------------------------------------------------
  let wasSent = false;
  const recognizing = okno.asker(async (isLast) => {
    const form = byId("composer"), sent = wasSent;
    wasSent = false;
    if (!form || stays()) return;
    const text = box().value;
    if (!document.querySelector("[data-recognizes]") || !text.trim() || (text === closed && !sent)) { shut(); return; }
    const answer = await okno.tell(form.dataset.recognize, { text, sent: sent ? "1" : "" });
    const html = await answer.text();
    if (!ok(answer) || !isLast() || form !== byId("composer") || stays() || box().value !== text) return;
    if (answer.status === 204) { shut(); return; }
    show(html);
    read = text;
    okno.composer.say("");
  });

  // If the operator typed on and sends before the panel is updated, send the composer's text, not the panel's.
  const typedOn = () => kind() === "recognized" && box().value !== read;
  const catchUp = async () => {
    await recognizing.now();
    return kind() === "recognized" && !typedOn() && Boolean(go()) && !go().disabled;
  };

  document.addEventListener("input", (event) => {
    if (event.target.id === "text") {
      if (event.target.value !== closed) closed = null;
      if (!stays()) recognizing.soon(PAUSE);
    } else if (event.target.matches("[data-find]")) finding.soon(200);
    else if (event.target.matches('#template_panel textarea[name^="v."]')) filling.soon();
  });

  // A refused reply: the panel explains it and offers actions.
  const cameBack = () => { closed = null; wasSent = true; recognizing.now(); };
  addEventListener("okno:unsent", cameBack);

  // --- fields ----------------------------------------------------------------------------------------------------
  const filling = okno.asker(async (isLast) => {
    const address = place().querySelector("[data-panel]")?.dataset.panel;
    if (!address) return;
    const panel = shown();
    const answer = await okno.tell(address, { ...okno.valuesIn(place()), kind: kind() });
    const html = await answer.text();
    if (!ok(answer) || !isLast() || !panel || panel !== shown()) return;
    okno.takeParts(place(), html);
    shown().className = new DOMParser().parseFromString(html, "text/html").querySelector(".tp").className;
    if (kind() === "recognized") followed();
  });

  // --- picking -----------------------------------------------------------------------------------------------------
  const finding = okno.asker(async (isLast) => {
    const find = place().querySelector("[data-find]");
    if (!find) return;
    const query = new URLSearchParams({ find: find.value, hold: place().querySelector("[name=hold]") ? "1" : "" });
    const answer = await fetch(`${find.dataset.from || byId("composer").dataset.templates}?${query}`, { headers: { "HX-Request": "true" } });
    const html = await answer.text();
    if (ok(answer) && isLast() && find.isConnected) okno.takeParts(place(), html);
  });

  const pick = async (link) => {
    recognizing.forget();
    const isHere = stillHere();
    const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
    const html = await answer.text();
    if (!ok(answer) || !isHere()) return;
    show(html);
    okno.composer.say("");
    place().querySelector("[data-find]")?.focus();
  };

  const open = async (button) => {
    recognizing.forget();
    const values = { open: "1", kind: button.dataset.open };
    for (const field of place().querySelectorAll('input[name^="v."]')) values[field.name] = field.value;
    if (button.name === "choice") values.choice = button.value;
    const isHere = stillHere();
    const answer = await okno.tell(button.getAttribute("formaction"), values);
    const html = await answer.text();
    if (!ok(answer) || !isHere()) return;
    show(html);
    if (kind() === "recognized") followed();
    const fields = [...place().querySelectorAll("textarea")];
    (fields.find((field) => !field.value) || (go()?.disabled ? fields[0] : go()))?.focus();
  };

  // --- sending -------------------------------------------------------------------------------------------------------
  const send = (button) => {
    if (button.disabled) return;
    const was = kind(), text = box().value, values = okno.valuesIn(place());
    const panel = place().querySelector("[data-panel]").dataset.panel;
    const words = was === "recognized" ? text : place().querySelector(".wa-body")?.textContent.trim() || "";
    const what = { address: button.getAttribute("formaction"), text: words };
    recognizing.forget();
    filling.forget();
    if (was === "picked") { // the box keeps its own words
      okno.composer.keep();
      what.values = [...Object.entries(values), ["kind", was]];
      okno.composer.send(what, { key: okno.newKey(), returns: () => reopen(panel, values, was) });
    } else {
      what.values = [...Object.entries(values), ["kind", was], ["text", text]];
      okno.composer.send({ ...what, box: text }, { returns: () => { if (was === "hold") reopen(panel, values, was); } });
    }
    shut();
  };

  // Restore the fields of a refused template.
  const reopen = async (panel, values, was) => {
    const isHere = stillHere();
    const answer = await okno.tell(panel, { ...values, kind: was });
    const html = await answer.text();
    if (ok(answer) && isHere()) show(html);
  };

  const sendWhatIsRead = async (button, otherwise = () => {}) => {
    if (!typedOn()) { send(button); return; }
    const isHere = stillHere();
    const isRead = await catchUp();
    if (!isHere()) return; // the text remains the draft of its chat
    if (isRead) send(go());
    else otherwise();
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-pick], [data-open], [data-go], [data-canned-response], [data-close-panel]");
    if (!button || !byId("composer")?.contains(button) || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if ("pick" in button.dataset) pick(button);
    else if ("open" in button.dataset) open(button);
    else if ("go" in button.dataset) sendWhatIsRead(button);
    else if ("cannedResponse" in button.dataset) say(button.dataset.cannedResponse);
    else close();
  });

  const close = () => {
    closed = box().value;
    recognizing.forget();
    shut();
    box().focus();
  };

  // A canned response goes where the caret is.
  const say = (words) => {
    shut();
    okno.insert(words);
  };

  // `/` at the beginning of a line opens the canned responses.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target !== box() || event.ctrlKey || event.metaKey || event.altKey) return;
    const { selectionStart: from, selectionEnd: to, value } = event.target;
    if (from !== to || (from && value[from - 1] !== "\n")) return;
    event.preventDefault();
    pick(document.querySelector("[data-canned-responses]"));
  });

  // Ctrl+Enter sends what has the focus: a field, its template; the box, the words in it. Those are a template too
  // where the panel says so; a template that was picked beside them is not meant.
  const ctrlEnter = (event, inPanel) => {
    const isField = inPanel && event.target.matches("textarea, select, input");
    const isBox = event.target === box() && kind() === "recognized" && go();
    if (!isField && !isBox) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat || event.isComposing || event.target.closest("[inert]")) return;
    if (isBox) sendWhatIsRead(go(), () => byId("composer").requestSubmit());
    else if (go() && !event.target.matches("[data-find]")) sendFilled();
  };
  // The operator may be faster than the server's validation.
  const sendFilled = async () => {
    const panel = shown();
    if (go().disabled) await filling.now();
    if (panel === shown() && go() && !go().disabled) sendWhatIsRead(go());
  };

  document.addEventListener("keydown", (event) => {
    const inPanel = place()?.contains(event.target);
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ctrlEnter(event, inPanel);
    else if (event.key === "Escape" && inPanel) close();
    else if (event.key === "Enter" && event.target.matches?.("[data-find]")) {
      event.preventDefault();
      place().querySelector(".tp-pick")?.click();
    } else if (inPanel && (event.key === "ArrowDown" || event.key === "ArrowUp")) move(event);
  }, true);

  const move = (event) => {
    const rows = [...place().querySelectorAll(".tp-pick")], at = rows.indexOf(event.target);
    if (at < 0 && !event.target.matches("[data-find]")) return;
    event.preventDefault();
    const next = at + (event.key === "ArrowDown" ? 1 : -1);
    (rows[next] || (next < 0 ? place().querySelector("[data-find]") : null))?.focus();
  };

  // --- chat or window state changed ---------------------------------------------------------------------
  let chat = null, asks = null;
  const opened = () => {
    if (byId("chat") === chat) return;
    chat = byId("chat");
    closed = null;
    asks = Boolean(document.querySelector("[data-recognizes]"));
    for (const asked of [recognizing, filling, finding]) asked.forget();
    if (box()?.value.trim() && !shown()) { wasSent = !byId("refusal").hidden; recognizing.now(); }
  };
  addEventListener("okno:opened", opened);
  addEventListener("okno:emptied", () => {
    recognizing.forget();
    if (!stays()) shut();
  });
  addEventListener("okno:draft", () => {
    const now = Boolean(document.querySelector("[data-recognizes]"));
    if (now === asks) return;
    asks = now;
    if (!stays()) recognizing.now();
  });
  opened();
})();
